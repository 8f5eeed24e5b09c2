"""Giraud 2011: penalties on the rank in multivariate regression."""
