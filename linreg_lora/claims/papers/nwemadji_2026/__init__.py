"""Nwemadji, Loureiro and Barbier 2026, arXiv 2602.02855: pretraining that slows LoRA."""
