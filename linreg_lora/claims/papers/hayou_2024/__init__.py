"""Hayou et al. 2024: LoRA+, a learning rate of B above that of A.

arXiv 2402.12354.
"""
