"""Zhang, Liu and Chen 2025, LoRA-One."""
