"""Benchmarks of the forecasters beside those of Darts."""
