"""Mukherjee et al. 2015, arXiv 1210.2464: degrees of freedom of reduced-rank estimators."""
