"""Jang, Lee and Ryu 2024, arXiv 2402.11867: LoRA training without spurious minima."""
