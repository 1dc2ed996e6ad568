"""Faster training and prediction with PyTorch Lightning, and the handling of their failures."""
