"""The command ``sentiment``: classifiers of sentiment on the same folds."""
