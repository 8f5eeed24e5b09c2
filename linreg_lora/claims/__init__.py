"""Claims files, the experiments that test them, and the verdicts; by plug-ins, anybody's."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
