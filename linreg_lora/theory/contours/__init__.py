"""LoRA's risk by NumPy: cuts from a count in closed form, all ranks at once. One door: `theory.equivalent`."""
