"""Shuttleworth et al. 2024, LoRA against full fine-tuning and intruder dimensions, arXiv 2410.21228."""
