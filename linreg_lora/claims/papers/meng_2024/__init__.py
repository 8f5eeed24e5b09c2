"""Meng, Wang and Zhang 2024, arXiv 2404.02948: PiSSA."""
