"""Rushka and Klabjan 2026, arXiv 2602.10212: rank and accuracy by gradient flow."""
