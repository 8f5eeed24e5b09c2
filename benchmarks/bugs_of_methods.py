"""Bugs in methods other than LoRA and FFT, in the formulas of limits and bounds, and in judging these."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from linreg_lora.claims import limits, pathwise
from linreg_lora.claims.papers.linreg_lora import predictions as our_predictions
from linreg_lora.claims.papers.liu_2025 import methods as predictions_of_methods
from linreg_lora.estimators import bitfit, fft, frozen, ia3, lora
from linreg_lora.theory import bounds, capacity, data_benefit, depth, equivalent, extreme_eigenvalues
from linreg_lora.theory import frozen as frozen_theory
from linreg_lora.theory.bitfit import BitFitRisk
from linreg_lora.theory.contours import functionals

Patch = pytest.MonkeyPatch


class Bug(NamedTuple):
    """`plant` puts the bug in; its docstring says what is wrong. `catchers`: ids of claims that must then fail."""

    plant: Callable[[Patch], None]
    where: str
    catchers: tuple[str, ...]
    quick: bool = False

    @property
    def name(self) -> str:
        return self.plant.__name__


# -- estimators -------------------------------------------------------------------------------------------------------


def pretrained_left_in_small_methods(patch: Patch) -> None:
    """BitFit and IA3 train on Y, not on what A0 leaves of it."""
    patch.setattr(fft, "residual", lambda inputs, outputs, pretrained: outputs)


def bias_is_the_median(patch: Patch) -> None:
    """BitFit's bias is the median of the residuals."""
    patch.setattr(bitfit, "fit_bitfit", lambda x, y, a0=None: jnp.median(fft.residual(x, y, a0), axis=-1))


def scale_shared_by_all_outputs(patch: Patch) -> None:
    """IA3 rescales all outputs by one number."""
    exact = ia3.fit_ia3

    def wrong(inputs, outputs, pretrained):
        update = exact(inputs, outputs, pretrained)
        before = jnp.broadcast_to(pretrained, update.shape)
        share = jnp.sum(update * before, axis=(-2, -1), keepdims=True) / jnp.sum(pretrained**2)
        return share * before

    patch.setattr(ia3, "fit_ia3", wrong)


def frozen_a_projects_fft(patch: Patch) -> None:
    """With A frozen, FFT's update is projected on the rows of A, in place of a fit on the features A X."""
    patch.setattr(
        frozen,
        "fit_frozen_a",
        lambda x, y, a, a0=None, ridge=None: fft.fit_fft(x, fft.residual(x, y, a0), None, ridge) @ a.mT @ a,
    )


def scaled_instead_of_projected(patch: Patch) -> None:
    """LoRA's update is FFT's, one per cent larger."""
    patch.setattr(lora.LoraPath, "truncate", lambda self, rank: 1.01 * self.update)


def adapters_one_percent_too_strong(patch: Patch) -> None:
    """The adapters of deep networks are one per cent stronger than they are said to be."""
    exact = depth.output_gap
    patch.setattr(
        depth,
        "output_gap",
        lambda weights, adapters, *rest, **options: exact(weights, [1.01 * phi for phi in adapters], *rest, **options),
    )


# -- theory ---------------------------------------------------------------------------------------------------------


def frozen_misspecification_is_no_noise(patch: Patch) -> None:
    """What a frozen A cannot represent adds no noise to what it can."""
    exact = frozen_theory.frozen_a_reduction

    def wrong(problem, input_factor):
        reduction = exact(problem, input_factor)
        quiet = reduction.problem.replace(noise_covariance=problem.noise_covariance, noise_std=problem.noise_std)
        return reduction._replace(problem=quiet)

    patch.setattr(frozen_theory, "frozen_a_reduction", wrong)


def bitfit_noise_alone(patch: Patch) -> None:
    """The variance of BitFit's bias is that of the noise; the shift adds none."""
    patch.setattr(predictions_of_methods, "bitfit_risk", lambda p: BitFitRisk(p.pretrained_risk, p.noise_trace / p.n))


def ia3_loses_one_sample_only(patch: Patch) -> None:
    """IA3's variance has n for n - 2."""
    exact = predictions_of_methods.ia3_risk

    def wrong(problem):
        risk = exact(problem)
        return risk._replace(variance=risk.variance * (problem.n - 2) / problem.n)

    patch.setattr(predictions_of_methods, "ia3_risk", wrong)


def overlap_counted_once(patch: Patch) -> None:
    """The equivalent subtracts the overlap of update and shift once, not twice."""
    exact = equivalent.functionals

    def wrong(*arguments, **options):
        found = exact(*arguments, **options)
        return found._replace(raw=found.raw * np.array([1, 1, 0.5, 1]))

    patch.setattr(equivalent, "functionals", wrong)


def correction_left_out(patch: Patch) -> None:
    """The equivalent's finite-size correction is a twentieth of what it should be."""
    exact = functionals.pole_factor
    patch.setattr(functionals, "pole_factor", lambda problem: exact(problem) / 20)


def correction_made_twice(patch: Patch) -> None:
    """The equivalent's finite-size correction is made twice."""
    exact = functionals.pole_factor
    patch.setattr(functionals, "pole_factor", lambda problem: 2 * exact(problem))


def edge_not_squared(patch: Patch) -> None:
    """The limit of the largest inverse eigenvalue is 1 / (1 - sqrt(dx / n))."""
    exact = extreme_eigenvalues.limit

    def wrong(problem):
        found = exact(problem)
        return found._replace(inverse=found.inverse._replace(value=found.inverse.value**0.5))

    patch.setattr(extreme_eigenvalues, "limit", wrong)


def bound_without_what_is_lost(patch: Patch) -> None:
    """Our bound on LoRA's risk forgets directions that the rank leaves out, and those that n < dx samples miss."""
    exact = bounds.lora_bound
    patch.setattr(bounds, "lora_bound", lambda *arguments: exact(*arguments)._replace(unseen=0.0, tail=0.0))


def surplus_ignored(patch: Patch) -> None:
    """Ranks above that of the shift cost what its own rank does."""
    patch.setattr(capacity, "_surplus", lambda *arguments: (capacity.Estimate(0.0, 0.0), "ignored"))


def dof_of_little_noise(patch: Patch) -> None:
    """The risk at little noise has n - dx for n - dx - 1."""
    patch.setattr(capacity, "_mean_inverse_trace", lambda samples, size: size / (samples - size))


def worth_of_the_risks(patch: Patch) -> None:
    """What a sample is worth with A frozen, against FFT, is the ratio of the risks."""
    patch.setattr(data_benefit, "frozen_a_ratio", lambda n, dx, rank: rank * (n - dx - 1) / (dx * (n - rank - 1)))


def forgetting_of_white_inputs(patch: Patch) -> None:
    """Forgetting is measured on white inputs, whatever the pretraining inputs were."""
    exact = our_predictions.expected_fft_forgetting
    patch.setattr(our_predictions, "expected_fft_forgetting", lambda problem, before: exact(problem))


# -- judging ----------------------------------------------------------------------------------------------------------


def rounding_not_allowed_for(patch: Patch) -> None:
    """Relations on every draw must hold to the last bit."""
    exact = pathwise._compare

    def wrong(claim, name, at):
        sample = dataclasses.replace(at.sample, tolerance=np.zeros_like(at.sample.tolerance))
        return exact(claim, name, at._replace(sample=sample))

    patch.setattr(pathwise, "_compare", wrong)


def sizes_in_the_wrong_order(patch: Patch) -> None:
    """Limits are judged from the largest size to the smallest."""
    exact = limits.compare
    patch.setattr(limits, "compare", lambda claim, name, measured: exact(claim, name, measured[::-1]))


BUGS = [
    Bug(
        pretrained_left_in_small_methods,
        "estimator",
        ("bitfit-risk-overdetermined", "ia3-risk-overdetermined"),
        quick=True,
    ),
    Bug(bias_is_the_median, "estimator", ("bitfit-risk-overdetermined", "bitfit-risk-underdetermined")),
    Bug(scale_shared_by_all_outputs, "estimator", ("ia3-risk-overdetermined",)),
    Bug(frozen_a_projects_fft, "estimator", ("frozen-a-risk",)),
    Bug(scaled_instead_of_projected, "estimator", ("lora-forgets-less", "lora-truncates-in-the-metric"), quick=True),
    Bug(adapters_one_percent_too_strong, "estimator", ("capacity-bound", "capacity-bound-linear-output"), quick=True),
    Bug(frozen_misspecification_is_no_noise, "theory", ("frozen-a-risk", "data-benefit-misspecified")),
    Bug(bitfit_noise_alone, "theory", ("bitfit-risk-overdetermined", "bitfit-risk-underdetermined")),
    Bug(ia3_loses_one_sample_only, "theory", ("ia3-risk-overdetermined", "ia3-risk-underdetermined")),
    Bug(overlap_counted_once, "theory", ("equivalent-overdetermined", "equivalent-underdetermined")),
    Bug(correction_left_out, "theory", ("equivalent-corrected-from-above",)),
    Bug(correction_made_twice, "theory", ("equivalent-corrected-from-below",)),
    Bug(edge_not_squared, "theory", ("prop4-largest-inverse-eigenvalue", "prop6-largest-inverse-eigenvalue")),
    Bug(bound_without_what_is_lost, "theory", ("lora-bound-overdetermined", "lora-bound-underdetermined")),
    Bug(surplus_ignored, "theory", ("small-noise-variance-over-ranked",)),
    Bug(dof_of_little_noise, "theory", ("small-noise-variance",)),
    Bug(worth_of_the_risks, "theory", ("data-benefit-exact-ratio",)),
    Bug(forgetting_of_white_inputs, "theory", ("fft-forgetting-overdetermined", "fft-forgetting-underdetermined")),
    Bug(rounding_not_allowed_for, "statistics", ("prop2-lora-closed-form", "factor-gradients"), quick=True),
    Bug(sizes_in_the_wrong_order, "statistics", ("prop4-largest-inverse-eigenvalue", "equivalent-overdetermined")),
]
