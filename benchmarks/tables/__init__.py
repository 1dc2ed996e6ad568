"""The tables of the documentation, generated from published results."""
