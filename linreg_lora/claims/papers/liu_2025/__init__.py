"""Liu et al. 2025, arXiv 2505.22355, whose claims are in paper_claims.yaml."""
