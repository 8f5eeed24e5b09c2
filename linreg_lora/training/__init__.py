"""Training by gradients: what descent on the two factors reaches, how fast, and by which path.

Only the sufficient statistics of the data are kept, so a step costs nothing in n. Descent needs optax (extra `train`).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
