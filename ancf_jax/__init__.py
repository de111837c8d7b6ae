"""Attention Neural Collaborative Filtering in JAX, with the baselines it must be measured against."""

__version__ = "0.1.0"
