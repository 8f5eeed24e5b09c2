"""Steele 2026, arXiv 2603.02224: forgetting by angles between tasks."""
