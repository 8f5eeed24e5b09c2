"""Dar and Baraniuk 2020, arXiv 2006.07002: some parameters are transferred, the others trained."""
