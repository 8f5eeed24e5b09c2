"""Zhang, Liu and Chen 2025, LoRA-One, arXiv 2502.01235."""
