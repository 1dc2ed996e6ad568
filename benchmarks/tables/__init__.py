"""The tables of the documents, made from published results."""
