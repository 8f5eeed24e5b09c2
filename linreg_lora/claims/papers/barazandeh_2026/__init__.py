"""Barazandeh 2026, arXiv 2609.32002: what rank buys when the norms of the factors are limited."""
