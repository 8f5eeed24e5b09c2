"""Training in closed form: what gradient flow and descent reach, when, and on which path."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
