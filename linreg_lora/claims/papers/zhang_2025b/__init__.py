"""Zhang et al. 2025, arXiv 2507.06558: LoRAM, the magnitude of updates."""
