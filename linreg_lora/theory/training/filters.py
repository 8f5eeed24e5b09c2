"""What training leaves of each eigenvalue of the inputs: the filter of gradient flow, and that of gradient descent."""

from typing import Any, NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput

#: How far time / rate may be from a whole number of steps, relatively.
_WHOLE = 1e-9


class Filter(NamedTuple):
    """k(x) = e^{-x time}, or (1 - rate x)^steps where `rate` > 0; for arrays of real or complex x.

    >>> from linreg_lora.theory.training.filters import Filter
    >>> f"{Filter.of(2.0).left(0.5):.4f}, {Filter.of(2.0, 0.01).left(0.5):.4f}"
    '0.3679, 0.3670'
    """

    time: float
    rate: float
    steps: int

    @classmethod
    def of(cls, time: object, rate: object = 0.0) -> "Filter":
        """Raises `InvalidInput` where `time` is no whole number of steps of size `rate`."""
        time, rate = validation.nonnegative_number("time", time), validation.nonnegative_number("rate", rate)
        if rate == 0:
            return cls(time, 0.0, 0)
        steps = round(time / rate)
        if abs(steps * rate - time) > _WHOLE * time:
            raise InvalidInput("time", f"a whole number of steps of {rate:g}", time, f"give {steps * rate:g}")
        return cls(time, rate, steps)

    def left(self, x: Any) -> Any:
        """k(x)."""
        return np.exp(-self.time * x) if self.rate == 0 else (1 - self.rate * x) ** self.steps

    def learnt_noise(self, x: Any) -> Any:
        """(1 - k(x))^2 / x, which is 0 at x = 0."""
        safe = np.where(x == 0, 1.0, x)
        learnt = -np.expm1(-self.time * safe) if self.rate == 0 else 1 - self.left(safe)
        return np.where(x == 0, 0.0, learnt**2 / safe)
