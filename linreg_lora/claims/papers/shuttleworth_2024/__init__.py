"""Shuttleworth et al. 2024, LoRA against full fine-tuning and intruder dimensions."""
