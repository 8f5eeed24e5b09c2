"""Chen et al. 2025, arXiv 2502.07739: HRP, preheating at a high rank."""
