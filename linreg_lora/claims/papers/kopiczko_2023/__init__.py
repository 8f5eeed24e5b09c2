"""Kopiczko et al. 2023, arXiv 2310.11454: VeRA, vectors of scales on frozen random factors."""
