"""Kumar et al. 2022, arXiv 2202.10054: the head first."""
