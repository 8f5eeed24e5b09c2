"""Malladi et al. 2023, arXiv 2210.05643: the kernel view of fine-tuning."""
