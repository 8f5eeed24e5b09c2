"""Bunea, She and Wegkamp 2011, arXiv 1004.2995: selecting the rank of a reduced-rank estimator."""
