"""What a rank costs: its parameters, its dimension, and the variance it leaves when samples are many.

A rank-r update B A has r (dx + dy) entries in its factors, but rank-r matrices form a manifold of dimension
r (dx + dy - r): the factors are determined up to an r x r gauge. As n grows with dx and dy fixed,

    n (E risk_r - tail_r^2) -> V_r,      tail_r^2 = sum_{i>r} s_i^2,

s_1 >= ... >= s_{r*} > 0 the singular values of Delta Sigma^{1/2}. With Sigma_eps = sigma^2 I,

    r = r*:                     V_r = sigma^2 r (dx + dy - r)
    r > r*, over-ranking:       V_r = sigma^2 [ r* (dx + dy - r*) + E sum_{i<=r-r*} sigma_i(G)^2 ],
                                G (dy - r*) x (dx - r*) with iid N(0, 1) entries
    r < r*, under-ranking:      V_r = sigma^2 r (dx + dy - r) + sum_{i<=r<j<=r*} s_j^2 (s_i^2 + 2 sigma^2) / (s_i^2 - s_j^2)
    (s_r > s_{r+1})

Between rank 0 and min(dx, dy), where LoRA is FFT, V_r / sigma^2 is the dimension only at r = r*. Over-ranking costs more,
because the surplus directions choose the largest of the noise. So does under-ranking: the missed directions act as noise,
also where sigma = 0, and the weaker the gap, the less the data tell the kept directions from the missed.

Derivation, under-ranking. Take Sigma = I and Delta = diag(s). LoRA minimises the empirical loss over the manifold, so
n (risk - tail^2) -> Tr(H^{-1} J), with H half the Hessian of the population risk on the manifold and J the covariance of
the score w_p x_q, w = (Delta - Delta_r) x + eps, at the best approximation Delta_r. The tangent entries (p, q), p <= r or
q <= r, are uncorrelated, with variance sigma^2 + s_p^2 for p > r and sigma^2 otherwise. The curvature of the manifold,
D_22 = D_21 D_11^{-1} D_12, couples the entries (j, i) and (i, j), i <= r < j, to the block [[1, -s_j/s_i], [-s_j/s_i, 1]],
whose inverse has the diagonal 1/(1 - s_j^2/s_i^2) twice; so a pair costs (2 sigma^2 + s_j^2) / (1 - s_j^2/s_i^2), which
is 2 sigma^2 and the summand above. Every other entry costs sigma^2.

For any Sigma_eps, e_p = (U^T Sigma_eps U)_pp replaces sigma^2, U the left singular vectors: output p <= r pays e_p dx,
p > r pays e_p r, 2 sigma^2 becomes e_i + e_j, and the rows of G get the covariance (U^T Sigma_eps U)_{p,q > r*}.
Source: derived here.
"""  # noqa: E501

import functools
import math
from typing import NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.seeds import valid_seed
from linreg_lora.theory.marchenko_pastur import quantile

#: Numbers drawn at a time.
_BATCH = 2**21
#: Singular values that differ by less, in units of the largest, count as equal.
_ROUNDING = 1e-12


class Estimate(NamedTuple):
    """A mean over draws with its standard error (0: exact)."""

    value: float
    stderr: float


class LargeSampleLimit(NamedTuple):
    """n (E risk_r - tail_r^2) -> `limit`, in squared units of y, for n -> infinity.

    `tail` is tail_r^2, the limit of the risk itself; `stderr` belongs to `limit` (0: exact; nan: an approximation).
    `effective_count` is `limit` in units of the noise variance, Tr(Sigma_eps)/dy (inf without noise, nan for 0/0).
    `dimension` is r (dx + dy - r) and `parameters` r (dx + dy). `formula` says which result was used.
    """

    rank: int
    tail: float
    limit: float
    stderr: float
    effective_count: float
    dimension: int
    parameters: int
    formula: str


def parameter_count(dx: int, dy: int, rank: int) -> int:
    """r (dx + dy): the entries of the two factors, B dy x r and A r x dx.

    >>> import linreg_lora as ll
    >>> ll.theory.parameter_count(dx=24, dy=20, rank=3)
    132
    """
    dx, dy, rank = _sizes(dx, dy, rank)
    return rank * (dx + dy)


def tangent_dimension(dx: int, dy: int, rank: int) -> int:
    """r (dx + dy - r): the dimension of the manifold of rank-r matrices, and of its tangent spaces.

    >>> import linreg_lora as ll
    >>> ll.theory.tangent_dimension(dx=24, dy=20, rank=3)
    123
    """
    dx, dy, rank = _sizes(dx, dy, rank)
    return rank * (dx + dy - rank)


def large_sample_limit(
    problem: Problem, rank: int, *, trials: int = 400, seed: int = 0, approximate: bool = False
) -> LargeSampleLimit:
    """The limit of n (E risk_r - tail_r^2) as n -> infinity, by the formulas of the module.

    `rank` r in 0..min(dx, dy); n is ignored, and so is the ridge: a fixed penalty moves the risk by O(1/n^2). For
    r* < r < min(dx, dy) the noise energy is averaged over `trials` draws from `seed`, or, with `approximate` and
    isotropic noise, taken from the Marchenko-Pastur law (`approximate_noise_energy`).

    Raises `InvalidInput` where s_r = s_{r+1} > 0: the best approximation is not unique, and no limit is known.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.theory.large_sample_limit(problem, rank=3)
    >>> f"{found.limit:.1f} from {found.parameters} parameters: {found.formula}"
    '123.0 from 132 parameters: sigma^2 r (dx + dy - r), exact'
    """
    problem.require_gaussian("this limit")
    reduced = problem.without_null_inputs()
    dx, dy = reduced.dx, reduced.dy
    dimension = tangent_dimension(dx, dy, rank)
    s, noise = strengths_and_noise(reduced)
    planted = len(s)
    e = np.diagonal(noise)
    kept = min(rank, planted)
    limit = dx * float(np.sum(e[:kept])) + kept * float(np.sum(e[kept:]))
    stderr, formula = 0.0, "sigma^2 r (dx + dy - r), exact"
    if rank < planted:
        formula = "under-ranking: sigma^2 r (dx + dy - r) + sum s_j^2 (s_i^2 + 2 sigma^2) / (s_i^2 - s_j^2), exact"
        limit += _mixing(s, e, rank)
    elif rank > planted:
        formula = "over-ranking: sigma^2 [r* (dx + dy - r*) + E sum sigma_i(G)^2]"
        energy, source = _surplus(noise[planted:, planted:], dx - planted, rank - planted, trials, seed, approximate)
        limit, stderr, formula = limit + energy.value, energy.stderr, f"{formula}, {source}"
    unit = reduced.noise_trace / dy
    effective = limit / unit if unit > 0 else math.inf if limit > 0 else math.nan
    tail = float(np.sum(s[rank:] ** 2))
    return LargeSampleLimit(rank, tail, limit, stderr, effective, dimension, parameter_count(dx, dy, rank), formula)


def small_noise_risk(
    problem: Problem, rank: int, *, trials: int = 400, seed: int = 0, approximate: bool = False
) -> Estimate:
    """The risk of LoRA at rank r >= r*, the rank of the shift, to first order in the noise; ridgeless, any n > dx + 1.

    E risk_r = E_u a + (Tr(Sigma_eps) - E_u) b + (a - b) / (dx - r*) E sum_{i<=r-r*} sigma_i(N)^2 + o(sigma^2),
    a = dx / (n - dx - 1),  b = r* / (n - r* - 1),  E_u = Tr(U^T Sigma_eps U),

    U (dy x r*) the left singular vectors of Delta Sigma^{1/2}, N (dy - r*) x (dx - r*) with columns iid N(0, the noise
    covariance outside of U). At r = r*, with Sigma_eps = sigma^2 I, it is
    sigma^2 [ r dx / (n - dx - 1) + (dy - r) r / (n - r - 1) ], and n times it tends to sigma^2 r (dx + dy - r).

    Derivation. With little noise the leading directions are U, and their rows those of V^T X, V (dx x r*) the row space
    of Delta. The error is P_U E X^+ + (I - P_U) E X^T V (V^T S V)^{-1} V^T, S = X X^T: outputs in U pay for a fit on
    all inputs, as with B frozen, others for one on the r* inputs V^T x, as with A frozen. Surplus directions are the
    leading ones of the noise outside of both; their right singular vectors are uniform in dx - r* dimensions, in which
    Tr((X^+)^T Sigma X^+) is a - b.

    The last mean is simulated as in `large_sample_limit`. inf where n - dx is 0 or 1 and outputs that pay a have noise;
    raises `InvalidInput` for n < dx, for r < r* and with ridge > 0. Source: derived here.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> f"{ll.theory.small_noise_risk(problem, rank=3).value:.3f} = {3 * 24 / 35 + 17 * 3 / 56:.3f}"
    '2.968 = 2.968'
    """
    problem.require_gaussian("this limit")
    reduced = problem.without_null_inputs()
    if reduced.n < reduced.dx:
        raise InvalidInput("n", f"an integer >= {reduced.dx}, the number of inputs that vary", problem.n)
    if reduced.ridge:
        raise InvalidInput("ridge", "0", problem.ridge)
    s, noise = strengths_and_noise(reduced)
    planted, n, dx = len(s), reduced.n, reduced.dx
    _sizes(dx, reduced.dy, rank)
    if rank < planted:
        raise InvalidInput("rank", f"at least {planted}, the rank of the shift", rank)
    inside, outside = float(np.trace(noise[:planted, :planted])), noise[planted:, planted:]
    energy = Estimate(0.0, 0.0)
    if rank > planted:
        energy, _ = _surplus(outside, dx - planted, rank - planted, trials, seed, approximate)
    every, few = _mean_inverse_trace(n, dx), _mean_inverse_trace(n, planted)
    parts = [(inside, every), (float(np.trace(outside)), few)]
    share = (every - few) / (dx - planted) if energy.value > 0 and math.isfinite(every) else every
    parts.append((energy.value, share))
    total = sum(noise * factor for noise, factor in parts if noise > 0)
    return Estimate(total, share * energy.stderr if math.isfinite(total) else 0.0)


def _mean_inverse_trace(samples: int, size: int) -> float:
    """E Tr W^{-1}, W ~ Wishart_size(I, samples); inf where it does not exist."""
    return (size / (samples - size - 1) if samples - size > 1 else math.inf) if size else 0.0


def noise_energy(
    rows: int, columns: int, count: int, *, trials: int = 400, seed: int = 0, row_covariance: np.ndarray | None = None
) -> Estimate:
    """E sum_{i<=count} sigma_i(C^{1/2} G)^2 by simulation, G rows x columns with iid N(0, 1), C `row_covariance`.

    The norm of G is independent of its direction, so E ||G||_F^2 = rows * columns is integrated exactly and only the
    share of the largest directions is averaged. Exact for count = 0, and for count >= min(rows, columns), where it is
    Tr(C) columns. Equal seeds give equal numbers.
    """
    rows, columns = validation.positive_integer("rows", rows), validation.positive_integer("columns", columns)
    count = validation.nonnegative_integer("count", count)
    covariance = validation.covariance("row_covariance", row_covariance, rows)
    matrix = np.eye(rows) if covariance is None else np.diag(covariance) if covariance.ndim == 1 else covariance
    if count == 0 or count >= min(rows, columns):
        return Estimate(float(np.trace(matrix)) * columns if count else 0.0, 0.0)
    trials = validation.enough_draws("trials", trials)
    if covariance is None:
        return _white_energy(rows, columns, count, trials, valid_seed(seed))
    values, vectors = np.linalg.eigh(matrix)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return _energy(root, rows, columns, count, trials, valid_seed(seed))


@functools.lru_cache(maxsize=64)
def _white_energy(rows: int, columns: int, count: int, trials: int, seed: int) -> Estimate:
    """The energy of isotropic noise: the same for every n and sigma, so that it is drawn once for them."""
    return _energy(None, rows, columns, count, trials, seed)


def _energy(root: np.ndarray | None, rows: int, columns: int, count: int, trials: int, seed: int) -> Estimate:
    """`noise_energy` of the root of a covariance; None: identity."""
    generator, shares, batch = np.random.default_rng(seed), [], max(1, _BATCH // (rows * columns))
    for start in range(0, trials, batch):
        g = generator.standard_normal((min(batch, trials - start), rows, columns))
        shaped = g if root is None else root @ g
        gram = shaped @ shaped.mT if rows <= columns else shaped.mT @ shaped
        largest = np.linalg.eigvalsh(gram)[:, -count:]
        shares.append(np.sum(largest, axis=1) / np.sum(g**2, axis=(1, 2)))
    share = np.concatenate(shares)
    scale = rows * columns
    return Estimate(scale * float(np.mean(share)), scale * float(np.std(share, ddof=1)) / math.sqrt(trials))


def approximate_noise_energy(rows: int, columns: int, count: int) -> float:
    """E sum_{i<=count} sigma_i(G)^2 by Marchenko-Pastur quantiles at i - 1/2, for large rows and columns.

    An approximation: each quantile is off by O(1/min(rows, columns)) in units of the law's width, the first most.
    """
    if count not in range(min(rows, columns) + 1):
        raise InvalidInput("count", f"an integer in 0..min(rows, columns) = {min(rows, columns)}", count)
    if count == min(rows, columns):
        return float(rows * columns)
    return sum((quantile(rows, columns, i + 0.5) for i in range(count)), 0.0)


def _surplus(
    noise: np.ndarray, columns: int, count: int, trials: int, seed: int, approximate: bool
) -> tuple[Estimate, str]:
    """The noise energy that `count` surplus directions pick up, and how it was found."""
    rows, variance = len(noise), float(noise[0, 0])
    isotropic = np.array_equal(noise, variance * np.eye(rows))
    if count == min(rows, columns) or not np.any(noise):
        return Estimate(columns * float(np.trace(noise)), 0.0), "exact"
    if approximate:
        if not isotropic:
            raise InvalidInput("approximate", "isotropic noise", "another noise covariance", "simulate instead")
        return Estimate(variance * approximate_noise_energy(rows, columns, count), math.nan), "Marchenko-Pastur"
    covariance = None if isotropic else noise
    found = noise_energy(rows, columns, count, trials=trials, seed=seed, row_covariance=covariance)
    scale = variance if isotropic else 1.0
    return Estimate(scale * found.value, scale * found.stderr), f"{trials} draws from seed {seed}"


def _mixing(s: np.ndarray, e: np.ndarray, rank: int) -> float:
    """The summand of under-ranking, over all pairs i <= r < j."""
    if rank == 0:
        return 0.0
    if not s[rank - 1] - s[rank] > _ROUNDING * s[0]:
        raise InvalidInput("rank", "s_r > s_{r+1}, so that the best approximation is unique", f"rank {rank}, s = {s}")
    strong, weak = s[:rank, None] ** 2, s[None, rank:] ** 2
    noise = e[:rank, None] + e[None, rank : len(s)]
    return float(np.sum(weak * (strong + noise) / (strong - weak)))


def strengths_and_noise(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """The nonzero singular values of Delta Sigma^{1/2}, and the noise covariance in its left singular vectors."""
    variance = problem.isotropic_noise_scale
    if variance is not None and problem.isotropic_scale is not None and problem.task_shift is None:
        s = math.sqrt(problem.isotropic_scale) * np.asarray(problem.spectrum)
        return s[s > 0], problem.noise_std**2 * variance * np.eye(problem.dy)
    left, s, _ = np.linalg.svd(problem.shift @ problem.sigma_sqrt)
    s = s[s > max(problem.dx, problem.dy) * np.finfo(float).eps * s[0]]
    if variance is not None:
        return s, problem.noise_std**2 * variance * np.eye(problem.dy)
    noise = left.T @ problem.sigma_eps @ left
    return s, (noise + noise.T) / 2


def _sizes(dx: int, dy: int, rank: int) -> tuple[int, int, int]:
    dx, dy = validation.positive_integer("dx", dx), validation.positive_integer("dy", dy)
    rank = validation.nonnegative_integer("rank", rank)
    if rank > min(dx, dy):
        raise InvalidInput("rank", f"an integer in 0..min(dx, dy) = {min(dx, dy)}", rank)
    return dx, dy, rank
