"""Li et al. 2023, arXiv 2310.08659: LoftQ."""
