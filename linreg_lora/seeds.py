"""Seeds of independent streams: one for every (seed, identity) pair, whatever the order they are asked for in."""

import hashlib

from linreg_lora.errors import InvalidInput


def valid_seed(seed: object) -> int:
    """`seed` as an integer in 0..2^63 - 1."""
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= int(seed) < 2**63:  # type: ignore[call-overload]
        raise InvalidInput("seed", "an integer in 0..2^63-1", seed)
    return int(seed)  # type: ignore[call-overload]


def derived_seed(seed: int, identity: str) -> int:
    """A seed for the stream that `identity` names: equal identities share it, different ones are independent."""
    digest = hashlib.sha256(f"{valid_seed(seed)}:{identity}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
