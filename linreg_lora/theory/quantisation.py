"""Four-bit normal floats (NF4): their levels by the rule that makes them, quantised matrices, and the size of errors.

    levels: quantiles of N(0, 1) at 8 probabilities from o = 1 - (1/32 + 1/30)/2 down to 1/2, at 7 mirrored ones, and 0,
            over the largest
    Q(A)_i = m_b l_k,   l_k the level nearest to A_i / m_b,   m_b = max |A_j| over block b of the flattened rows

Double quantisation stores the m_b, less their mean, in 8 bits: blocks of 256, scaled to dynamic floats, which have a
sign, a power of ten and as many bits as are left. Codes are those of the exact m_b. Source: arXiv 2305.14314.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from linreg_lora import validation
from linreg_lora.errors import InvalidInput

#: Entries that share a scale, and scales that share theirs.
BLOCK, BLOCK_OF_SCALES = 64, 256
#: The largest and smallest block maxima that are averaged over leave out this probability on either side.
_LEFT_OUT, _NODES = 1e-17, 240


@functools.cache
def nf4_levels() -> Float[np.ndarray, "16"]:
    """The 16 levels of NF4, from -1 to 1.

    >>> import linreg_lora as ll
    >>> ll.theory.nf4_levels()[[0, 1, 7, 8, 15]].round(7).tolist()
    [-1.0, -0.6961928, 0.0, 0.0795803, 1.0]
    """
    outermost = 1 - (1 / 32 + 1 / 30) / 2
    positive = stats.norm.ppf(np.linspace(outermost, 0.5, 9)[:-1])
    negative = -stats.norm.ppf(np.linspace(outermost, 0.5, 8)[:-1])
    levels = np.sort(np.concatenate([positive, negative, [0.0]]))
    return validation.frozen(levels / levels[-1])


@functools.cache
def dynamic_levels() -> Float[np.ndarray, "256"]:
    """Dynamic 8-bit floats: +-10^{e-6} times the middles of 2^e equal parts of (0.1, 1), e = 0..6, with 0 and 1.

    >>> import linreg_lora as ll
    >>> levels = ll.theory.dynamic_levels()
    >>> len(levels), float(levels[-1]), f"{levels[levels > 0][0]:.2g}"
    (256, 1.0, '5.5e-07')
    """
    ends = [np.linspace(0.1, 1, 2**e + 1) for e in range(7)]
    size = np.concatenate([10.0 ** (e - 6) * (end[1:] + end[:-1]) / 2 for e, end in enumerate(ends)])
    return validation.frozen(np.sort(np.concatenate([-size, size, [0.0, 1.0]])))


def quantised(matrix: object, block: int = BLOCK, double: bool = False) -> Float[np.ndarray, "dy dx"]:
    """Q(A): a matrix as NF4 stores it.

    `matrix` A (dy x dx), `block` the entries of the flattened rows that share a scale (the last block may have fewer),
    `double` whether the scales are quantised too. A block of zeros stays as it is, one of equal entries too. Raises
    `InvalidInput` for what is no finite matrix, and for blocks longer than the matrix.

    >>> import linreg_lora as ll
    >>> ll.theory.quantised([[2.0, -1.0], [0.4, 0.0]], block=4).round(4).tolist()
    [[2.0, -1.0501], [0.3219, 0.0]]
    """
    values = validation.real_array("matrix", matrix, "a matrix of finite numbers")
    if values.ndim != 2 or 0 in values.shape:
        raise InvalidInput("matrix", "a matrix of finite numbers", f"shape {values.shape}")
    return stored(values, block_that_fits(block, values.size), double, np)


def stored(values: Any, block: int, double: bool, xp: Any) -> Any:
    """`quantised` of what was checked, by NumPy or by `jax.numpy`."""
    flat = xp.pad(values.ravel(), (0, -values.size % block)).reshape(-1, block)
    largest = xp.max(xp.abs(flat), axis=1, keepdims=True)
    scale = _doubly(largest[:, 0], xp)[:, None] if double else largest
    found = scale * _nearest(nf4_levels(), flat / xp.where(largest > 0, largest, 1.0), xp)
    return found.ravel()[: values.size].reshape(values.shape)


def block_that_fits(block: int, entries: int) -> int:
    """`block`, an integer in 1..`entries`."""
    block = validation.positive_integer("block", block)
    if block > entries:
        expected = f"at most the {entries} entries of the matrix"
        raise InvalidInput("block", expected, block, "take a smaller block, or a larger matrix")
    return block


def _doubly(scales: Any, xp: Any) -> Any:
    """Scales as 8 bits store them."""
    mean = xp.mean(scales)
    rest = xp.pad(scales - mean, (0, -len(scales) % BLOCK_OF_SCALES)).reshape(-1, BLOCK_OF_SCALES)
    largest = xp.max(xp.abs(rest), axis=1, keepdims=True)
    found = largest * _nearest(dynamic_levels(), rest / xp.where(largest > 0, largest, 1.0), xp)
    return found.ravel()[: len(scales)] + mean


def _nearest(levels: np.ndarray, values: Any, xp: Any) -> Any:
    return xp.asarray(levels)[xp.searchsorted(xp.asarray((levels[1:] + levels[:-1]) / 2), values)]


class QuantisationError(NamedTuple):
    """Mean and standard deviation of an entry of A - Q(A), for A of iid N(0, 1) entries; both scale with A."""

    mean: float
    std: float


@functools.cache
def quantisation_error(block: int = BLOCK) -> QuantisationError:
    """Moments of NF4's error A - Q(A), for iid N(0, 1) entries in blocks of `block`, by quadrature over the maximum.

        E e^k = (1 - 1/block) E_m [ E[ (x - m l(x/m))^k | |x| < m ] ],      m the largest of `block` values |x_i|

    The maximum itself has no error. The inner mean is closed on each of the 16 cells. Double quantisation changes
    the standard deviation by less than a thousandth (of 64 entries a block), which is left out.

    >>> import linreg_lora as ll
    >>> found = ll.theory.quantisation_error()
    >>> f"{found.mean:.6f} {found.std:.5f}"
    '-0.000697 0.09198'
    """
    block = validation.positive_integer("block", block)
    if block == 1:
        return QuantisationError(0.0, 0.0)
    ends = [stats.norm.isf(0.5 * -math.expm1(math.log(_LEFT_OUT) / block)),
            stats.norm.isf(0.5 * -math.expm1(math.log1p(-_LEFT_OUT) / block))]  # fmt: skip
    t, w = np.polynomial.legendre.leggauss(_NODES)
    m = (ends[0] + ends[1]) / 2 + (ends[1] - ends[0]) / 2 * t
    inside = 1 - 2 * stats.norm.sf(m)
    density = 2 * block * stats.norm.pdf(m) * inside ** (block - 1) * w * (ends[1] - ends[0]) / 2
    levels = nf4_levels()
    edge = m[:, None] * np.concatenate([[-1.0], (levels[1:] + levels[:-1]) / 2, [1.0]])
    mass, first, second = (np.diff(part, axis=1) for part in (
        stats.norm.cdf(edge), -stats.norm.pdf(edge), stats.norm.cdf(edge) - edge * stats.norm.pdf(edge)
    ))  # fmt: skip
    level = m[:, None] * levels
    mean = np.sum(first - level * mass, axis=1) / inside
    square = np.sum(second - 2 * level * first + level**2 * mass, axis=1) / inside
    share = (1 - 1 / block) / np.sum(density)
    mean, square = share * float(density @ mean), share * float(density @ square)
    return QuantisationError(mean, math.sqrt(square - mean**2))
