"""Spectral Dynamics of Low-Rank Adaptation, 2026: curves along which modes rise."""
