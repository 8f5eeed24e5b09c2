"""The algebra behind the theory, verified step by step with sympy: one module per result, `linreg-lora prove`."""
