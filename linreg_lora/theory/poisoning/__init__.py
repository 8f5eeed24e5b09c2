"""Poisoned training data: what label poison and backdoors do to full fine-tuning and to LoRA of each rank."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
