"""Malinovsky et al. 2024, arXiv 2410.08305: RAC-LoRA, chains of blocks with random frozen factors."""
