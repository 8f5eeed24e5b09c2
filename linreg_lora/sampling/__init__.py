"""Samplers: a problem in, random designs and residuals out."""
