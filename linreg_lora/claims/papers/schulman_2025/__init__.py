"""Schulman et al. 2025, LoRA Without Regret."""
