"""Hugging Face PEFT, pull request 817, 2023: merging adapters by concatenation and by truncation."""
