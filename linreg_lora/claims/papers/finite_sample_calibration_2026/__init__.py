"""Finite-Sample Calibration for Low-Rank Adapter Pruning, 2026: when a component can be told from noise."""
