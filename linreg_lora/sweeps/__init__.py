"""Grids of problems: risk curves and phase diagrams, journals that survive, and where cells run."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
