"""Duranthon, Boncoraglio and Zdeborova 2026, arXiv 2606.05899: LoRA after pretraining on samples."""
