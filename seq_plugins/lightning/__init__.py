"""Training and prediction by PyTorch Lightning, faster, and what they do when something goes wrong."""
