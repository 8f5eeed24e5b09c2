"""Kratsios et al. 2025, arXiv 2506.14530: the generalisation gap of LoRA with a random frozen factor."""
