"""Hao et al. 2024, arXiv 2402.03293: FLORA, LoRA as a random projection of gradients."""
