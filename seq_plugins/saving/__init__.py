"""Saving models as pairs of files, which are loaded only if both are intact and harmless."""
