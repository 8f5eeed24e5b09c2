"""Instruments: what claims can measure, and what they may predict."""
