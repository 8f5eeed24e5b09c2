"""The explorer: the theory of one problem follows its sliders, and simulation comes on demand.

`setting`, `curves`, `family`, `training`, `simulate`, `picture` and `family_picture` know nothing of the page and serve
notebooks too; `view`, `family_view` and `training_view` draw for the page and `app` wires it. Importing this package
imports neither JAX nor Panel.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
