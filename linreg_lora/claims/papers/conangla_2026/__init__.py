"""Conangla Planes 2026, arXiv 2608.26052: how much rank attention needs."""
