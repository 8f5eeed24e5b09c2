"""Xie 2026, arXiv 2607.23711: the threshold of intruders."""
