"""320 synthetic problems with known truth, and rules that choose a rank from their data.

Families: low rank, power law, exponential and flat shifts; isotropic and anisotropic inputs; more outputs than inputs
and fewer; n / dx from 0.3 to 0.85 or from 1.35 to 8; and noise over two decades around the level at which full
fine-tuning and doing nothing cost the same. `make(seed)` is one of them. Plain NumPy but for the rules of the package.
"""

import functools
import time
from typing import NamedTuple

import numpy as np

from linreg_lora.own_data.bootstrap import uncertainty
from linreg_lora.own_data.choice import choose
from linreg_lora.own_data.curve import curve
from linreg_lora.own_data.deletion import Design, deletions, design, update
from linreg_lora.own_data.gaussian_model import expected_errors, gaussian_model
from linreg_lora.own_data.losses import directions
from linreg_lora.own_data.samples import Samples
from linreg_lora.theory.marchenko_pastur import edges, quantile

FAMILIES = ("low rank", "power", "exponential", "flat")


class Made(NamedTuple):
    """A problem: its data (rows), the true shift and covariance, noise level, and what it is one of."""

    samples: Samples
    shift: np.ndarray
    covariance: np.ndarray
    noise_std: float
    family: str
    anisotropic: bool

    @property
    def over(self) -> bool:
        return len(self.samples.inputs) > self.samples.inputs.shape[1]

    def risks(self, at: Design, ridge: float = 0.0) -> np.ndarray:
        """Excess risk of LoRA at every rank fitted to these data, given them."""
        basis = directions(deletions(at, self.samples.residual, ridge)).basis
        fitted, true = basis.T @ update(at, self.samples.residual, ridge), basis.T @ self.shift
        gain = np.sum((fitted @ self.covariance) * (fitted - 2 * true), axis=1)
        return np.sum((self.shift @ self.covariance) * self.shift) + np.append(0.0, np.cumsum(gain))


def make(seed: int) -> Made:
    """Problem number `seed`: kinds in turn, sizes and strengths at random."""
    rng = np.random.default_rng([20261129, seed])
    family, over = FAMILIES[seed % 4], (seed // 4) % 2 == 0
    anisotropic, wide = (seed // 8) % 2 == 1, (seed // 16) % 2 == 1
    small, large = int(rng.integers(12, 31)), int(rng.integers(31, 67))
    dx, dy = (small, large) if wide else (large, small)
    n = round(dx * (np.exp(rng.uniform(np.log(1.35), np.log(8))) if over else rng.uniform(0.3, 0.85)))
    n = max(n, 5)
    size = min(dx, dy)
    values = {
        "low rank": np.append(rng.uniform(0.5, 1.5, r := int(rng.integers(1, 5))), np.zeros(size - r)),
        "power": np.arange(1, size + 1.0) ** -rng.uniform(0.5, 1.5),
        "exponential": np.exp(-rng.uniform(0.1, 0.6) * np.arange(size)),
        "flat": np.ones(size),
    }[family]
    left = np.linalg.qr(rng.standard_normal((dy, dy)))[0][:, :size]
    right = np.linalg.qr(rng.standard_normal((dx, dx)))[0][:, :size]
    shift = (left * values) @ right.T
    variances = np.exp(rng.uniform(-1.5, 1.5, dx)) if anisotropic else np.ones(dx)
    whole = float(np.sum(shift**2 * variances))
    seen = whole if over else whole * n / dx
    factor = dy * dx / (n - dx - 1) if over else dy * n / (dx - n - 1 if dx > n + 1 else 1)
    noise = float(np.sqrt(seen / factor) * 10 ** rng.uniform(-1, 1))
    inputs = rng.standard_normal((n, dx)) * np.sqrt(variances)
    residual = inputs @ shift.T + noise * rng.standard_normal((n, dy))
    return Made(Samples(inputs, residual, None), shift, np.diag(variances), noise, family, anisotropic)


# -- rules: from data to a rank; None where they do not apply -------------------------------------------------------


def leave_one_out(made: Made, at: Design) -> int:
    return curve(made.samples, at, 0.0).best_rank


def leave_one_out_one_error(made: Made, at: Design) -> int:
    """The smallest rank within one standard error of the paired difference to the best."""
    found = curve(made.samples, at, 0.0)
    best = found.best_rank
    for rank in range(best):
        weights = np.zeros((len(found.ranks), 1))
        weights[rank], weights[best] = 1.0, -1.0
        mean, stderr = found.losses.mean_and_error(weights)
        if mean[0] <= stderr[0]:
            return rank
    return best


def cross_validation(made: Made, at: Design, folds: int) -> int | None:
    """k-fold cross-validation, folds at random."""
    n = at.samples
    if n < 2 * folds:
        return None
    labels = np.random.default_rng(n).permutation(n) % folds
    return curve(made.samples._replace(groups=labels), at, 0.0).best_rank


def plug_in(made: Made, at: Design) -> int:
    """The best rank in expectation, by theory, of the Gaussian model that looks like the data."""
    from linreg_lora.problem import Problem
    from linreg_lora.theory.curve import expected_risk

    model = gaussian_model(at, made.samples.residual)
    dx = len(model.variances)
    whitened = np.linalg.svd(model.shift * np.sqrt(model.variances), compute_uv=False)
    problem = Problem(
        n=at.samples, dx=dx, dy=len(model.shift), spectrum=tuple(whitened.tolist()), noise_std=model.noise_std
    )
    found = expected_risk(problem, flags=False).risk
    return int(np.nanargmin(np.where(np.isfinite(found), found, np.nan)))


def leave_one_out_and_plug_in(made: Made, at: Design) -> int:
    """The least sum of both curves of test error."""
    found = curve(made.samples, at, 0.0)
    theory = expected_errors(gaussian_model(at, made.samples.residual), at.samples, found.ranks)
    both = found.error + theory
    return int(np.nanargmin(np.where(np.isfinite(both), both, np.nan)))


def information_criterion(made: Made, at: Design, penalty: str) -> int | None:
    """AIC, BIC or generalised cross-validation with r (N + dy - r) parameters."""
    plain = deletions(at, made.samples.residual, 0.0)
    values, dy, width = _fit_values(made, at)
    n, ranks = at.samples, np.arange(len(values) + 1)
    parameters = ranks * (width + dy - ranks)
    left = np.sum(plain.target**2) - np.append(0.0, np.cumsum(values**2))
    size = n * dy
    if penalty == "gcv":
        spare = 1 - parameters / size
        return int(np.argmin(np.where(spare > 0, left / size / np.where(spare > 0, spare, 1) ** 2, np.inf)))
    if n <= width:
        return None
    weight = 2.0 if penalty == "aic" else np.log(size)
    return int(np.argmin(size * np.log(left / size) + weight * parameters))


def sure(made: Made, at: Design) -> int | None:
    """Stein's unbiased risk estimate of the fit, inputs fixed; noise estimated."""
    n = at.samples
    plain = deletions(at, made.samples.residual, 0.0)
    k, dy = plain.coordinates.shape
    if n <= k:
        return None
    missed = plain.target - at.left @ plain.coordinates
    variance = np.sum(missed**2) / (dy * (n - k))
    lam = np.linalg.svd(plain.coordinates, compute_uv=False) ** 2
    q, found = len(lam), []
    for r in range(q + 1):
        pairs = np.sum(lam[None, r:] / (lam[:r, None] - lam[None, r:])) if 0 < r < q else 0.0
        found.append(np.sum(lam[r:]) + 2 * variance * (r * (dy + k - r) + 2 * pairs))
    return int(np.argmin(found))


def gavish_donoho(made: Made, at: Design, *, known: bool) -> int:
    """The optimal hard threshold of singular values, noise known or by the median."""
    values, dy, width = _fit_values(made, at)
    beta = min(dy, width) / max(dy, width)
    factor = np.sqrt(2 * (beta + 1) + 8 * beta / (beta + 1 + np.sqrt(beta**2 + 14 * beta + 1)))
    if known:
        return int(np.sum(values > factor * np.sqrt(max(dy, width)) * made.noise_std))
    middle = np.sqrt(quantile(dy, width, min(dy, width) / 2) / max(dy, width))
    return int(np.sum(values > factor / middle * np.median(values)))


def detectable(made: Made, at: Design) -> int:
    """All singular values above the edge of noise."""
    values, dy, width = _fit_values(made, at)
    return int(np.sum(values**2 > made.noise_std**2 * edges(dy, width)[1]))


def rank_selection(made: Made, at: Design) -> int:
    """Bunea, She and Wegkamp's criterion: singular values above sqrt(2) sigma (sqrt(N) + sqrt(dy))."""
    values, dy, width = _fit_values(made, at)
    return int(np.sum(values**2 > 2 * made.noise_std**2 * (width + dy)))


def spiked_bracket(made: Made, at: Design) -> int | None:
    """Directions whose gain is negative by the spiked model, with the estimated strengths."""
    from linreg_lora.errors import LinregLoraError
    from linreg_lora.problem import Problem
    from linreg_lora.theory.spiked import spikes

    model = gaussian_model(at, made.samples.residual)
    whitened = np.linalg.svd(model.shift * np.sqrt(model.variances), compute_uv=False)
    try:
        problem = Problem(
            n=at.samples, dx=len(model.variances), dy=len(model.shift),
            spectrum=tuple(whitened[whitened > 0].tolist()), noise_std=model.noise_std,
        )  # fmt: skip
        return int(np.sum(spikes(problem).keep))
    except LinregLoraError:
        return None


def _fit_values(made: Made, at: Design) -> tuple[np.ndarray, int, int]:
    coordinates = deletions(at, made.samples.residual, 0.0).coordinates
    return np.linalg.svd(coordinates, compute_uv=False), coordinates.shape[1], coordinates.shape[0]


#: Rules of the rank alone, without ridge.
RULES = {
    "leave-one-out": leave_one_out,
    "leave-one-out, smallest within one error": leave_one_out_one_error,
    "10-fold cross-validation": functools.partial(cross_validation, folds=10),
    "5-fold cross-validation": functools.partial(cross_validation, folds=5),
    "plug-in of the theory": plug_in,
    "leave-one-out and plug-in": leave_one_out_and_plug_in,
    "SURE, inputs fixed": sure,
    "spiked model": spiked_bracket,
    "Gavish and Donoho, noise known": functools.partial(gavish_donoho, known=True),
    "Gavish and Donoho, noise by the median": functools.partial(gavish_donoho, known=False),
    "rank selection criterion": rank_selection,
    "all above the edge of noise": detectable,
    "generalised cross-validation": functools.partial(information_criterion, penalty="gcv"),
    "AIC": functools.partial(information_criterion, penalty="aic"),
    "BIC": functools.partial(information_criterion, penalty="bic"),
    "rank 8": lambda made, at: 8,
    "never adapt": lambda made, at: 0,
    "full fine-tuning": lambda made, at: min(at.samples, *made.shift.shape),
}


def judged(seed: int) -> dict:
    """One problem: the regret of each rule, coverage and probability of the bootstrap, and the same with ridges."""
    made = make(seed)
    at = design(made.samples.inputs, intercept=False)
    risks = made.risks(at)
    ranks, seconds = {}, {}
    for name, rule in RULES.items():
        started = time.process_time()
        ranks[name] = rule(made, at)
        seconds[name] = time.process_time() - started
    regret = {
        name: None if rank is None else float(risks[min(rank, len(risks) - 1)] / np.min(risks))
        for name, rank in ranks.items()
    }
    chosen = choose(made.samples, at, ridge=0.0)
    sure_of = uncertainty(chosen, gaussian_model(at, made.samples.residual), at.samples, seed=seed)
    low, high = sure_of.interval(0.9)
    test = float(risks[chosen.rank] + len(made.shift) * made.noise_std**2)
    q = len(risks) - 1
    lower = chosen.rank if chosen.rank < q else int(np.argmin(chosen.curve.error[:-1]))
    normal = 1.645 * float(chosen.curve.stderr[chosen.rank])
    joint = choose(made.samples, at)
    with_ridge = made.risks(at, joint.curve.ridge)[joint.rank]
    return {
        "seed": seed,
        "n": at.samples,
        "over": made.over,
        "family": made.family,
        "anisotropic": made.anisotropic,
        "best": int(np.argmin(risks)),
        "regret": regret,
        "seconds": seconds,
        "covered": bool(low <= test <= high),
        "covered_normal": bool(abs(test - chosen.curve.error[chosen.rank]) <= normal),
        "width": (high - low) / test,
        "probability": sure_of.probability_beats_fft(),
        "beats": bool(risks[lower] < risks[q]),
        "ridge_over_best_rank": float(with_ridge / np.min(risks)),
    }
