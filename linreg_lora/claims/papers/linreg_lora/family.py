"""Linear classes that decouple by output: their sizes, hybrids, random frozen factors; and plausible mistakes."""

from collections.abc import Callable

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import Rank
from linreg_lora.errors import InvalidInput
from linreg_lora.methods import registry
from linreg_lora.methods.decoupled import Decoupled
from linreg_lora.methods.method import Method
from linreg_lora.methods.restricted import Restricted
from linreg_lora.problem import Problem
from linreg_lora.theory.decoupled import DecoupledRisk, Piece, decoupled_risk
from linreg_lora.theory.haar import haar_frozen_a_risk


def _risk(method: Method, problem: Problem) -> DecoupledRisk:
    if isinstance(method, Restricted) and method.inner_rank is None:
        pieces = [Piece(*method.factors(problem.pretrained, problem.dx, problem.dy))]
    elif isinstance(method, Decoupled):
        pieces = list(method.pieces(problem.pretrained, problem.dx, problem.dy))
    else:
        raise InvalidInput("method", "one whose class decouples by output", method.name)
    return decoupled_risk(problem, pieces)


def _of(problem: Problem, sample: Sample) -> DecoupledRisk:
    return _risk(registry.named(str(sample.context["method"])), problem)


@register_prediction("family.misfit-is-no-noise")
def misfit_is_no_noise(problem: Problem, sample: Sample) -> float:
    """sum_j [ b_j + v_j k_j / (n - k_j - 1) ]: what a class misses is lost, and does not disturb its fit."""
    found = _of(problem, sample)
    return found.misspecification + sum(one.noise * one.size / (problem.n - one.size - 1) for one in found.outputs)


@register_prediction("family.one-sample-more")
def one_sample_more(problem: Problem, sample: Sample) -> float:
    """sum_j [ b_j + (v_j + b_j) k_j / (n - k_j) ]: n in place of n - 1."""
    found = _of(problem, sample)
    excess = ((one.noise + one.missed) * one.size / (problem.n - one.size) for one in found.outputs)
    return found.misspecification + sum(excess)


@register_prediction("family.nothing-is-lost")
def nothing_is_lost(problem: Problem, sample: Sample) -> float:
    """The variance alone, of the noise: the class is taken to hold the shift."""
    return sum(one.noise * one.size / (problem.n - one.size - 1) for one in _of(problem, sample).outputs)


# -- a hybrid against one of its parts ------------------------------------------------------------------------------


@register_experiment("method-difference")
def method_difference(problem: Problem, trials: int, seed: int, *, method: str, beside: str) -> Sample:
    """Excess risk of `method` minus that of `beside`, fitted to the same explicit data; context: both names."""
    from linreg_lora.simulation.methods import fitted_risks

    risks = [fitted_risks(problem, registry.named(name), trials=trials, seed=seed) for name in (method, beside)]
    context = {"method": np.asarray(method), "beside": np.asarray(beside)}
    return Sample((risks[0] - risks[1])[:, None], context)


@register_prediction("method-difference.expected")
def difference(problem: Problem, sample: Sample) -> float:
    """By theory."""
    one, other = (registry.named(str(sample.context[name])) for name in ("method", "beside"))
    return one.expected_risk(problem).risk - other.expected_risk(problem).risk


@register_prediction("method-difference.misfit-alone")
def misfit_alone(problem: Problem, sample: Sample) -> float:
    """What the larger class misses less: its degrees of freedom are taken to be free."""
    one, other = _pair(problem, sample)
    return one.misspecification - other.misspecification


@register_prediction("method-difference.parameters-cost-noise")
def parameters_cost_noise(problem: Problem, sample: Sample) -> float:
    """What it misses less, and v_j k_j / (n - k_j - 1) of its degrees of freedom: misfit is no noise."""
    parts = []
    for found in _pair(problem, sample):
        cost = sum(part.noise * part.size / (problem.n - part.size - 1) for part in found.outputs)
        parts.append(found.misspecification + cost)
    return parts[0] - parts[1]


def _pair(problem: Problem, sample: Sample) -> tuple[DecoupledRisk, DecoupledRisk]:
    from linreg_lora.methods.frozen_a import FrozenA
    from linreg_lora.methods.frozen_b import FrozenB

    found = []
    for name in ("method", "beside"):
        method = registry.named(str(sample.context[name]))
        if isinstance(method, FrozenA):
            found.append(decoupled_risk(problem, [Piece(None, method.input_factor(problem.dx))]))
        elif isinstance(method, FrozenB):
            found.append(decoupled_risk(problem, [Piece(method.output_factor(problem.dy))]))
        else:
            found.append(_risk(method, problem))
    return found[0], found[1]


# -- a random frozen factor -----------------------------------------------------------------------------------------


@register_experiment("random-frozen-a-risk")
def random_frozen_a_risk(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Excess risk of frozen A with a new A, of Haar-distributed rows, for every data set; by plain NumPy."""
    r, rng = int(rank), np.random.default_rng(seed)
    a = np.linalg.qr(rng.standard_normal((trials, problem.dx, r))).Q.mT
    x = problem.sigma_sqrt @ rng.standard_normal((trials, problem.dx, problem.n))
    y = problem.shift @ x + problem.sigma_eps_sqrt @ rng.standard_normal((trials, problem.dy, problem.n))
    z = a @ x
    update = np.linalg.solve(z @ z.mT, z @ y.mT).mT @ a
    error = (update - problem.shift) @ problem.sigma_sqrt
    return Sample(np.sum(error**2, axis=(1, 2))[:, None], {"rank": np.asarray(r)})


@register_prediction("random-frozen-a.mean")
def random_frozen_a_mean(problem: Problem, sample: Sample) -> float:
    """[ (1 - r/dx) c ||Delta||^2 + Tr Sigma_eps ] (n - 1)/(n - r - 1) - Tr Sigma_eps."""
    return haar_frozen_a_risk(problem, int(sample.context["rank"])).risk


@register_prediction("random-frozen-a.misfit-is-no-noise")
def random_misfit_is_no_noise(problem: Problem, sample: Sample) -> float:
    """(1 - r/dx) c ||Delta||^2 + Tr(Sigma_eps) r / (n - r - 1)."""
    r = int(sample.context["rank"])
    return (1 - r / problem.dx) * problem.pretrained_risk + problem.noise_trace * r / (problem.n - r - 1)


@register_prediction("random-frozen-a.share-of-outputs")
def random_share_of_outputs(problem: Problem, sample: Sample) -> float:
    """As if a share r/dy of the shift were seen, in place of r/dx."""
    r = int(sample.context["rank"])
    missed = (1 - min(1.0, r / problem.dy)) * problem.pretrained_risk
    noise = problem.noise_trace
    return (missed + noise) * (problem.n - 1) / (problem.n - r - 1) - noise


# -- sizes ----------------------------------------------------------------------------------------------------------

#: Methods whose fits are affine in the outputs, with a rank r where they have one.
_LINEAR = ("svf", "mask:2", "ia3-in", "lora-xs:{r}", "tangent:{r}")


@register_experiment("family-dimensions", pathwise=True)
def family_dimensions(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Dimension of the set of updates that each linear method reaches; trials x methods.

    Their fits are affine in the outputs, so it is the rank of what they return for each outputs A0 X + e_j e_i^T.
    """
    import jax

    (dy, dx), r, n = size, int(rank), sum(size)
    rng, found = np.random.default_rng(seed), []
    pretrained = rng.standard_normal((dy, dx))
    fits = [jax.jit(registry.named(name.format(r=r)).fit) for name in _LINEAR]
    for _ in range(trials):
        x = rng.standard_normal((1, dx, n))
        y = pretrained @ x + np.eye(dy * n).reshape(dy * n, dy, n)
        updates = [np.asarray(fit(x, y, pretrained).map).reshape(dy * n, -1) for fit in fits]
        found.append([np.linalg.matrix_rank(update, tol=1e-9) for update in updates])
    statistic = np.asarray(found, dtype=float)
    return Sample(statistic, {"rank": np.asarray(r)}, tolerance=np.zeros(trials), scale=np.ones(trials))


@register_prediction("family-dimensions.parameters")
def sizes(size: MatrixSize, sample: Sample) -> np.ndarray:
    """What `Method.parameters` says: min(dx, dy), the unmasked entries, dx, r^2, r (dx + dy - r)."""
    return _sizes(size, sample, lambda dx, dy, r: r * (dx + dy - r))


@register_prediction("family-dimensions.factors")
def sizes_of_factors(size: MatrixSize, sample: Sample) -> np.ndarray:
    """As if the tangent space had the r (dx + dy) entries of two factors."""
    return _sizes(size, sample, lambda dx, dy, r: r * (dx + dy))


def _sizes(size: MatrixSize, sample: Sample, tangent: Callable[[int, int, int], int]) -> np.ndarray:
    (dy, dx), r = size, int(sample.context["rank"])
    unmasked = sum((i + j) % 2 == 0 for i in range(dy) for j in range(dx))
    counts = np.array([min(dx, dy), unmasked, dx, r * r, tangent(dx, dy, r)], dtype=float)
    return np.broadcast_to(counts, sample.statistic.shape)
