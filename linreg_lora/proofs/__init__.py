"""The algebra behind the theory, verified step by step with sympy: one module per result, `linreg-lora prove`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
