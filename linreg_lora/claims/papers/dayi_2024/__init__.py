"""Dayi and Chen 2024, arXiv 2411.15385: low-rank fine-tuning beyond kernels."""
