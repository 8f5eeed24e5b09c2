"""Hayou et al. 2024, arXiv 2402.12354: LoRA+, a learning rate of B above that of A."""
