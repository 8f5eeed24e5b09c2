"""Zhu et al. 2024, arXiv 2402.16842: the asymmetry of two factors, of which one is random and frozen."""
