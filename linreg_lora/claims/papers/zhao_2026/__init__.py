"""Zhao, Kolar and Lv 2026, arXiv 2604.20161: the singular subspaces of a source."""
