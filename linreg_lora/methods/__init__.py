"""Fine-tuning methods as objects: what each trains, how it fits, and which problem its risk is that of."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
