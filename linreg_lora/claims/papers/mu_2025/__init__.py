"""Mu and Klabjan 2025, arXiv 2512.18248: the convergence rate of descent on LoRA's factors."""
