"""Claims of our own."""
