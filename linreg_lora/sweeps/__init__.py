"""Grids of problems: risk curves and phase diagrams, journals that survive, and where cells run."""
