"""Kalajdzievski 2023, arXiv 2312.03732: rsLoRA, the scale of the product at high rank."""
