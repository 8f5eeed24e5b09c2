"""Park 2026, arXiv 2605.03724: the capacity that lets rank one suffice."""
