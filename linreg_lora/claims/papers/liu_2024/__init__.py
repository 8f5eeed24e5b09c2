"""Liu et al. 2024, arXiv 2402.09353: DoRA, magnitudes and directions of columns."""
