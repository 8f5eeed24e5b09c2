"""Zeng and Lee 2024, arXiv 2310.17513: what low-rank adapters on several layers can express."""
