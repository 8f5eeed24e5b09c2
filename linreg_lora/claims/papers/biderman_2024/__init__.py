"""Biderman et al. 2024, LoRA learns less and forgets less."""
