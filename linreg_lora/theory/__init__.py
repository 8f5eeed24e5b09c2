"""Exact and asymptotic results, one file each: a problem in, numbers out."""
