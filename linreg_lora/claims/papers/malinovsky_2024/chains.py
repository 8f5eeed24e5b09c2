"""How near blocks with random frozen factors come to full fine-tuning, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.library.training import Factors
from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


def _missed(sample: Sample, size: int) -> tuple[float, int]:
    """1 - r/dx and T."""
    return 1 - int(sample.context["rank"]) / size, int(sample.context["steps"])


@register_prediction("random-chain.geometric")
def geometric(case: Factors, sample: Sample) -> float:
    """(1 - r/dx)^T: of what is left, every block misses the same share on average."""
    missed, blocks = _missed(sample, case.dx)
    return missed**blocks


@register_prediction("random-chain.squared")
def squared(case: Factors, sample: Sample) -> float:
    """(1 - r/dx)^{2T}: a projector is taken for its mean, which contracts twice in a squared norm."""
    missed, blocks = _missed(sample, case.dx)
    return missed ** (2 * blocks)


@register_prediction("random-chain.linear")
def linear(case: Factors, sample: Sample) -> float:
    """1 - T r/dx, at least 0: blocks are taken to see different directions."""
    missed, blocks = _missed(sample, case.dx)
    return max(0.0, 1 - blocks * (1 - missed))


@register_prediction("random-chain.share-of-outputs")
def share_of_outputs(case: Factors, sample: Sample) -> float:
    """(1 - r/dy)^T."""
    missed, blocks = _missed(sample, case.dy)
    return missed**blocks


@register_prediction("chain-of-one-factor.stays")
def stays(problem: Problem, sample: Sample) -> np.ndarray:
    """The loss of the first block, that of LoRA with this A frozen."""
    return sample.context["frozen"]


@register_prediction("chain-of-one-factor.reaches-fft")
def reaches_fft(problem: Problem, sample: Sample) -> np.ndarray:
    """The loss of full fine-tuning."""
    return sample.context["full"]


@register_prediction("random-chain-gradient-loss.bound")
def gradient_bound(problem: Problem, sample: Sample) -> float:
    """E (1 - (r/dx) lmin/lmax)^T."""
    share = int(sample.context["rank"]) / problem.dx
    return float(np.mean((1 - share * sample.context["least"]) ** int(sample.context["steps"])))


@register_prediction("random-chain-gradient-loss.of-inputs")
def gradient_bound_of_inputs(problem: Problem, sample: Sample) -> float:
    """E (1 - (r/dx) (lmin/lmax)^{1/2})^T: singular values of X for eigenvalues of S."""
    share = int(sample.context["rank"]) / problem.dx
    return float(np.mean((1 - share * np.sqrt(sample.context["least"])) ** int(sample.context["steps"])))


@register_prediction("random-chain-gradient-loss.squared")
def gradient_bound_squared(problem: Problem, sample: Sample) -> float:
    """E (1 - (r/dx) lmin/lmax)^{2T}: the error, not the loss, is taken to fall at that rate."""
    share = int(sample.context["rank"]) / problem.dx
    return float(np.mean((1 - share * sample.context["least"]) ** (2 * int(sample.context["steps"]))))


@register_prediction("random-chain-gradient-loss.of-full-steps")
def gradient_bound_of_full_steps(problem: Problem, sample: Sample) -> float:
    """E (1 - lmin/lmax)^T: the rate of gradient descent on all entries."""
    return float(np.mean((1 - sample.context["least"]) ** int(sample.context["steps"])))


def _along(problem: Problem, start: float, noise: float) -> float:
    """`start` of A0's risk and `noise` of full fine-tuning's on orthogonal inputs, Tr(Sigma_eps) dx / n."""
    return start * problem.pretrained_risk + noise * problem.noise_trace * problem.dx / problem.n


@register_prediction("random-chain-risk.straight")
def straight(problem: Problem, sample: Sample) -> float:
    """rho ||Delta Sigma^{1/2}||^2 + (1 - rho) Tr(Sigma_eps) dx / n, rho = (1 - r/dx)^T."""
    missed, blocks = _missed(sample, problem.dx)
    return _along(problem, missed**blocks, 1 - missed**blocks)


@register_prediction("random-chain-risk.filter")
def filtered(problem: Problem, sample: Sample) -> float:
    """rho^2 and (1 - rho)^2: a chain is taken for a shrinkage filter, which has a best number of blocks inside."""
    missed, blocks = _missed(sample, problem.dx)
    return _along(problem, missed ** (2 * blocks), (1 - missed**blocks) ** 2)


@register_prediction("random-chain-risk.of-the-rank")
def of_the_rank(problem: Problem, sample: Sample) -> float:
    """The noise of one block, a share r/dx of full fine-tuning's, whatever the number of blocks."""
    missed, blocks = _missed(sample, problem.dx)
    return _along(problem, missed**blocks, 1 - missed)
