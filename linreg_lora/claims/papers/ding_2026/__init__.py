"""Ding et al. 2026: equiangular tight frames as starts."""
