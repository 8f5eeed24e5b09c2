"""Dar, LeJeune and Baraniuk 2024, arXiv 2103.05621: transfer as ridge towards a source."""
