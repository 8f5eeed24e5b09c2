"""The user's own data: full fine-tuning or LoRA, which rank, which ridge, and how sure.

Samples are rows here, as in scikit-learn. Neither JAX nor anything else that is slow is imported.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
