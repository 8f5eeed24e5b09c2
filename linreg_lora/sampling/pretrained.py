"""A pretrained map from a seed: A0 with iid N(0, 1) entries, the same wherever one is asked for by number."""

import numpy as np
from jaxtyping import Float

from linreg_lora.errors import InvalidInput
from linreg_lora.seeds import valid_seed

#: Entries of the largest A0 that is drawn.
_MOST_ENTRIES = 10**8


def drawn_pretrained(seed: object, dy: int, dx: int) -> Float[np.ndarray, "dy dx"]:
    """A0 (dy dx), iid N(0, 1) from `seed`. Raises `InvalidInput`, which names pretrained-seed.

    >>> from linreg_lora.sampling.pretrained import drawn_pretrained
    >>> drawn_pretrained(1, 2, 2).round(2).tolist()
    [[0.35, 0.82], [0.33, -1.3]]
    """
    try:
        rng = np.random.default_rng(valid_seed(seed))
    except InvalidInput as error:
        raise InvalidInput("pretrained-seed", error.expected, error.received) from None
    if dx * dy > _MOST_ENTRIES:
        raise InvalidInput("pretrained-seed", f"an A0 of at most {_MOST_ENTRIES:.0e} entries", f"dx dy = {dx * dy}")
    return rng.standard_normal((dy, dx))
