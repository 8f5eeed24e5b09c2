"""Arunan J. 2026, arXiv 2607.27680: how many samples a rank needs, with and without a nuclear norm."""
