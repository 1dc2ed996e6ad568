"""Models saved in two files that belong together, and loaded only when both are whole and harmless."""
