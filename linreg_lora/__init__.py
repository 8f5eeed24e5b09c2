"""LoRA against full fine-tuning in linear regression: exact risks, simulation, and checked claims.

Importing this package sets the numerical environment (`linreg_lora.runtime`) and imports neither JAX nor anything
else that is slow; names are loaded when they are first used. What there is, with types: `__init__.pyi`.
"""

from importlib.metadata import PackageNotFoundError, version

import lazy_loader

from linreg_lora import runtime

try:
    __version__ = version("linreg-lora")
except PackageNotFoundError:  # a source tree that is on the path and not installed
    __version__ = "0+unknown"
del PackageNotFoundError, version

runtime.configure()

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
