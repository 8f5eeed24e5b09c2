"""Marchetta et al. 2026: transfer and forgetting of low-rank adapters."""
