"""Two checkpoints, before and after full fine-tuning: the rank that LoRA would have needed, tensor by tensor.

Neither JAX nor anything else that is slow is imported.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
