"""Kalajdzievski 2023: rsLoRA, the scale alpha / sqrt(r)."""
