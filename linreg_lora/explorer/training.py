"""What the explorer shows of training by theory: the risk of the chosen rank against training time."""

import functools
from typing import NamedTuple

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.explorer.setting import Setting
from linreg_lora.theory.training import RiskOverTime, risk_over_time

#: Times, and draws of the noise and of A(0): fewer where matrices are so large that draws take seconds.
_TIMES, _DRAWS, _FEW_DRAWS, _LARGE = 40, 24, 6, 150
#: Scale of LoRA's product, and the squared norm of the rows of A(0): alpha = 2 r and PEFT's start.
_SCALING, _KAPPA = 2.0, 1 / 3


class AgainstTime(NamedTuple):
    """Risk against time, or None and the reason why theory has none."""

    setting: Setting
    found: RiskOverTime | None
    reason: str

    @property
    def caption(self) -> str:
        """One line below the plot: what is shown, or why nothing is."""
        if self.found is None:
            return f"No path of training by theory: {self.reason}"
        best, end = float(np.min(self.found.risk)), self.found.end
        stopped = f"; stopped at the best of these times {best:.4g}" if best < 0.995 * end else ""
        return (
            f"Gradient flow from orthogonal rows of A as long as PEFT's, alpha = 2r, on inputs with X X' = n I: "
            f"trained to the end {end:.4g} (dashed){stopped}. On Gaussian inputs this is the limit n >> dx, with an "
            f"error of the order (dx + 1)/n = {(self.setting.dx + 1) / self.setting.n:.2g}; PEFT's own rows differ in "
            "length, and rise later where dx is small."
        )


@functools.lru_cache(maxsize=64)
def against_time(setting: Setting) -> AgainstTime:
    """The setting's LoRA rank from a random start with alpha = 2 r and PEFT's kappa, from its first rise to its end.

    >>> import linreg_lora as ll
    >>> shown = ll.explorer.against_time(ll.explorer.Setting(n=400, dx=24, dy=20, lora=4))
    >>> f"from {shown.found.risk[0]:.3g} to {shown.found.end:.3g}"
    'from 15.9 to 0.398'
    >>> ll.explorer.against_time(ll.explorer.Setting(n=12, dx=24, dy=20)).reason
    'n: expected n >= dx = 24, received 12; no end is that of D_r alone below'
    """
    problem = setting.problem()
    draws = _DRAWS if max(setting.dx, setting.dy) <= _LARGE else _FEW_DRAWS
    try:
        found = risk_over_time(
            problem, setting.lora, _times(setting), scaling=_SCALING, kappa=_KAPPA, orthogonal=True, draws=draws, seed=0
        )
    except InvalidInput as refusal:
        return AgainstTime(setting, None, str(refusal))
    return AgainstTime(setting, found, "")


def _times(setting: Setting) -> np.ndarray:
    """From a small part of the time that the strongest mode takes to well after the weakest that is kept has risen."""
    problem = setting.problem()
    edge = setting.noise * (np.sqrt(setting.dx) + np.sqrt(setting.dy)) / np.sqrt(setting.n)
    s = np.append(problem.spectrum or (), np.zeros(setting.lora))
    k = _SCALING * _KAPPA / 2
    strongest, weakest = np.hypot(s[0] + edge, k), np.hypot(max(s[setting.lora - 1], edge / 2), k / 4)
    return np.geomspace(0.1 / (_SCALING * strongest), 12 / (_SCALING * weakest), _TIMES)
