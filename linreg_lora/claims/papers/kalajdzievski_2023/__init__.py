"""Kalajdzievski 2023, arXiv 2312.03732: rsLoRA, the scaling alpha / sqrt(r)."""
