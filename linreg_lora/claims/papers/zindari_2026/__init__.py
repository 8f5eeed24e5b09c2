"""Zindari, Mulayoff and Stich 2026, arXiv 2605.19018, whose claims are in paper_claims.yaml."""
