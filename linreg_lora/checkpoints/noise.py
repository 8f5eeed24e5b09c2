"""How many directions of an update stand out of its noise, and how many are worth keeping.

Full fine-tuning by least squares on n samples with noise of standard deviation sigma on every output leaves noise in
the update D (dy dx). In the metric S of the samples' own inputs, of rank k, it is exactly sigma / sqrt(n) G, G (dy k)
iid N(0, 1), whatever the inputs are. A direction stands out whose squared singular value is above the 95 % point of the
largest one of noise (Johnstone 2001, with the centring of Ma 2012):

    p = min(dy, k) - 1/2,   m = max(dy, k) - 1/2,
    (sqrt m + sqrt p)^2 + 0.9793 (sqrt m + sqrt p) (1 / sqrt m + 1 / sqrt p)^(1/3),

and is worth keeping above the threshold of Gavish and Donoho 2014, (m, b = max(dy, k), min(dy, k) / max(dy, k))

    m (2 (b + 1) + 8 b / (b + 1 + sqrt(b^2 + 14 b + 1))).

Where sigma is not known, the median of all values says how large the noise is, which is fair while most of them are
noise; of few values it is itself uncertain, and about one in ten updates of noise alone has a direction above the edge
at min(dy, k) = 40. Without the metric D's own noise is sigma G W^{-1/2} Sigma^{-1/2}, W Wishart of n samples: a law of
its own, known where Sigma is a multiple of the identity. Its largest value is by Johnstone 2008, and its median by
Wachter's law.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.checkpoints.ranks import numerical_rank
from linreg_lora.theory.marchenko_pastur import quantile

#: The 95 % point of the Tracy-Widom law of real matrices.
_TRACY_WIDOM_95 = 0.9793
_POINTS = 4001
#: Fewer samples an input, and the noise without a metric is not told from the shift.
_MANY_SAMPLES = 4
_FEW_VALUES = 10


class NoiseRank(NamedTuple):
    """How many directions are not noise.

    `edge`: the 95 % point of the largest singular value of noise; `rank`: how many are above it; `worth_keeping`: how
    many are above the threshold of Gavish and Donoho, None without a metric; `known_by`: "noise_std" or "median";
    `flagged`: whether it is in doubt, `note` says why.
    """

    edge: float
    rank: int
    worth_keeping: int | None
    known_by: str
    flagged: bool
    note: str


def in_metric(values: Float[np.ndarray, "q"], rows: int, rank: int, noise: float | None = None) -> NoiseRank:
    """Of the values of D S^{1/2}; `rank`: of S; `noise`: sigma / sqrt(n), None where it is not known."""
    known_by = "median" if noise is None else "noise_std"
    scale = float(np.median(values) ** 2 / quantile(rows, rank, len(values) / 2)) if noise is None else noise**2
    edge = float(np.sqrt(scale * largest_of_noise(rows, rank)))
    worth = int(np.sum(values > np.sqrt(scale * worth_keeping(rows, rank))))
    count = _above(values, edge, max(rows, rank))
    return NoiseRank(edge, count, worth, known_by, *(_doubt(values, count) if noise is None else (False, "")))


def without_metric(values: Float[np.ndarray, "q"], rows: int, columns: int, samples: int | None) -> NoiseRank:
    """Of the values of D itself; `samples` n, None where it is not known: then as if n were infinite."""
    median = float(np.median(values) ** 2)
    if samples is None or samples <= columns:
        few = "" if samples is None else f"n = {samples} samples fit {columns} inputs exactly; "
        scale = median / quantile(rows, columns, len(values) / 2)
        edge = float(np.sqrt(scale * largest_of_noise(rows, columns)))
        note = f"{few}as if inputs were isotropic and samples many: counts too many; give activations or samples"
        return NoiseRank(edge, _above(values, edge, max(rows, columns)), None, "median", True, note)
    largest, middle = least_squares_noise(rows, columns, samples)
    edge = float(np.sqrt(median / middle * largest))
    count = _above(values, edge, max(rows, columns))
    flagged, note = _doubt(values, count)
    if samples < _MANY_SAMPLES * columns:
        flagged, note = True, f"fewer than {_MANY_SAMPLES} samples an input: its noise hides the shift"
    return NoiseRank(edge, count, None, "median", flagged, note or "as if inputs were isotropic")


def largest_of_noise(rows: int, columns: int) -> float:
    """The 95 % point of the largest squared singular value of iid N(0, 1) entries."""
    m, p = np.sqrt(max(rows, columns) - 0.5), np.sqrt(min(rows, columns) - 0.5)
    return float((m + p) ** 2 + _TRACY_WIDOM_95 * (m + p) * (1 / m + 1 / p) ** (1 / 3))


def worth_keeping(rows: int, columns: int) -> float:
    """The squared singular value above which a direction of a noisy matrix is worth keeping, at unit noise."""
    m, b = max(rows, columns), min(rows, columns) / max(rows, columns)
    return float(m * (2 * (b + 1) + 8 * b / (b + 1 + np.sqrt(b**2 + 14 * b + 1))))


def least_squares_noise(rows: int, columns: int, samples: int) -> tuple[float, float]:
    """The 95 % point of the largest, and the median, of the squared singular values of G W^{-1/2}.

    G (`rows` x `columns`) iid N(0, 1), W Wishart of `samples` > `columns`. The median is of the min(rows, columns) that
    are not 0.
    """
    total = samples + rows - 1
    gamma, phi = (2 * np.arcsin(np.sqrt((f(columns, rows) - 0.5) / total)) for f in (min, max))
    both = phi + gamma
    width = np.cbrt(16 / (total**2 * np.sin(both) ** 2 * np.sin(phi) * np.sin(gamma)))
    largest = float(np.exp(2 * np.log(np.tan(both / 2)) + width * _TRACY_WIDOM_95))
    return largest, _median(rows, columns, samples)


def _median(rows: int, columns: int, samples: int) -> float:
    """Of Wachter's law, u = rows / samples times (1 +- h)^2 / (1 - b)^2 at its ends, a = columns / rows,
    b = columns / samples, h^2 = a + b - a b: density sqrt((u+ - u)(u - u-)) / (u (a + b u))."""
    a, b = columns / rows, columns / samples
    h = np.sqrt(a + b - a * b)
    low, high = ((1 - h) / (1 - b)) ** 2, ((1 + h) / (1 - b)) ** 2
    theta = np.linspace(0, np.pi, _POINTS)
    u = (low + high) / 2 + (high - low) / 2 * np.cos(theta)
    smooth = np.where(u > 0, np.sin(theta) ** 2 / np.where(u > 0, u * (a + b * u), 1.0), 4 / (a * high))
    above = np.concatenate([[0.0], np.cumsum((smooth[1:] + smooth[:-1]) / 2)])
    angle = np.interp(above[-1] / 2, above, theta)
    return float(((low + high) / 2 + (high - low) / 2 * np.cos(angle)) * rows / samples)


def _above(values: Float[np.ndarray, "q"], edge: float, size: int) -> int:
    """Values above the edge and above rounding, which the median of an exact low rank is."""
    return min(int(np.sum(values > edge)), numerical_rank(values, size))


def _doubt(values: Float[np.ndarray, "q"], count: int) -> tuple[bool, str]:
    if len(values) < _FEW_VALUES:
        return True, f"{len(values)} singular values are too few to tell noise by their median"
    if count > len(values) // 4:
        return True, "more than a quarter of the directions stand out: the median is not of noise alone"
    return False, ""
