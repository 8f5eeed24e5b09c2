"""Xu et al. 2025, arXiv 2503.06982: learning dynamics of LoRA in matrix factorisation."""
