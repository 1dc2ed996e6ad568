"""The command ``sentiment``: sentiment classifiers compared on the same folds."""
