"""Bugs planted in samplers, estimators, theory, statistics and instruments, and the claims that catch each.

    python benchmarks/planted_bugs.py

Every bug is patched into the running package, then the claims that should catch it are checked, and only these. Writes
`results/planted_bugs.md`; exits 1 if a bug is caught by none of its claims. A claim catches a bug that gives it a
verdict other than expected.
"""

import functools
import sys
import time
from pathlib import Path

import bugs_of_instruments
import bugs_of_methods
import jax
import numpy as np
from bugs_of_methods import Bug, Patch

from linreg_lora.claims import statistics
from linreg_lora.claims.check import check_claims
from linreg_lora.claims.collection import collect_claims
from linreg_lora.claims.schema import ClaimsFile
from linreg_lora.claims.vocabulary import Verdict
from linreg_lora.estimators import fft as fft_estimator
from linreg_lora.estimators import lora
from linreg_lora.estimators.risk import excess_risk_path
from linreg_lora.problem import Problem
from linreg_lora.sampling import directions, gaussian, plan, sufficient
from linreg_lora.simulation import draws, programs
from linreg_lora.simulation.running_moments import RunningMoments
from linreg_lora.theory import fft as fft_theory

RESULTS = Path(__file__).parent / "results"


def verdicts(bug: Bug) -> dict[str, Verdict]:
    """What the claims that should catch a bug say while it is in."""
    _forget_compiled_programs()
    try:
        with Patch.context() as patch:
            bug.plant(patch)
            return {judgement.claim.id: judgement.verdict for judgement in check_claims(_claims(), only=bug.catchers)}
    finally:
        _forget_compiled_programs()


def caught(bug: Bug) -> list[str]:
    """The claims whose verdict is not the expected one while it is in."""
    expected = {claim.id: claim.expected for claim in _claims().claims}
    return [name for name, verdict in verdicts(bug).items() if verdict is not expected[name]]


@functools.cache
def _claims() -> ClaimsFile:
    return collect_claims(everything=True).file


def _forget_compiled_programs() -> None:
    jax.clear_caches()
    for name, module in list(sys.modules.items()):
        if name.startswith("linreg_lora.claims."):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


# -- samplers -----------------------------------------------------------------------------------------------------


def dof_in_sampler(patch: Patch) -> None:
    """Bartlett's factor has one degree of freedom too many."""
    exact = sufficient.bartlett_factor
    patch.setattr(sufficient, "bartlett_factor", lambda key, size, dof: exact(key, size, dof + 1))


def covariance_left_out_of_the_reduction(patch: Patch) -> None:
    """Sufficient statistics use Delta for Delta Sigma^{1/2}."""
    exact = plan._overdetermined

    def wrong(problem):
        layout, parameters = exact(problem)
        return layout, parameters._replace(shift=jax.numpy.asarray(problem.shift))

    patch.setattr(plan, "_overdetermined", wrong)


def ridge_of_unit_inputs(patch: Patch) -> None:
    """Sufficient statistics in units of the inputs keep the ridge of the data."""
    exact = plan._overdetermined

    def wrong(problem):
        layout, parameters = exact(problem)
        return layout, parameters._replace(ridge=jax.numpy.asarray(problem.ridge) if problem.ridge > 0 else None)

    patch.setattr(plan, "_overdetermined", wrong)


def unseen_directions_too_strong(patch: Patch) -> None:
    """Four inputs of the reduced design are twice too large."""
    exact = sufficient.tall_design

    def wrong(key, n, rho, rest, dof):
        design = exact(key, n, rho, rest, dof)
        return design.at[-4:].multiply(2.0)

    patch.setattr(sufficient, "tall_design", wrong)


def variance_for_std(patch: Patch) -> None:
    """The noise is scaled by its variance."""
    exact = gaussian.noise
    patch.setattr(
        gaussian, "noise", lambda key, shape, root: exact(key, shape, root**2 if root.ndim == 0 else root @ root)
    )


def inputs_not_correlated(patch: Patch) -> None:
    """Explicit data forget Sigma."""
    exact = gaussian.sample
    patch.setattr(gaussian, "sample", lambda key, n, target, root, noise: exact(key, n, target, None, noise))


def every_draw_the_same(patch: Patch) -> None:
    """All draws use the key of the first."""
    patch.setattr(draws, "_keys", lambda key, first, size: jax.numpy.broadcast_to(key, (size,)))


def chi_squared_for_chi(patch: Patch) -> None:
    """The diagonals of the directions' factors are chi squared."""
    exact = directions._chi
    patch.setattr(directions, "_chi", lambda key, dof: exact(key, dof) ** 2)


def noise_of_the_directions_too_small(patch: Patch) -> None:
    """The conditional sampler draws nine tenths of the noise."""
    exact = directions._noise
    patch.setattr(directions, "_noise", lambda *arguments: 0.9 * exact(*arguments))


# -- estimators -----------------------------------------------------------------------------------------------------


def no_whitening(patch: Patch) -> None:
    """The update itself is truncated, not the whitened one."""

    def wrong(inverse, whitened, *, squared):
        update = whitened @ inverse.whitening
        return lora.LoraPath(lora.left_singular_basis(update, inverse.rank, squared=squared), update)

    patch.setattr(lora, "lora_path", wrong)


def no_whitening_of_sufficient_draws(patch: Patch) -> None:
    """The update itself is truncated, in draws from sufficient statistics only."""
    exact = programs._risks_of_draw

    def wrong(layout, parameters, key):
        if layout.design == "explicit":
            return exact(layout, parameters, key)
        sampled = plan.draw(layout, parameters, key)
        update = sampled.whitened @ sampled.inverse.whitening
        basis = lora.left_singular_basis(update, sampled.inverse.rank, squared=False)
        return excess_risk_path(basis, update, parameters.shift, parameters.sigma_sqrt), exact(layout, parameters, key)[
            1
        ]

    patch.setattr(programs, "_risks_of_draw", wrong)


def weakest_directions_first(patch: Patch) -> None:
    """LoRA keeps the weakest directions."""
    exact = lora.left_singular_basis
    patch.setattr(lora, "left_singular_basis", lambda *args, **kwargs: exact(*args, **kwargs)[..., ::-1])


def pretrained_left_in_residual(patch: Patch) -> None:
    """A0 is left in the residual."""
    patch.setattr(fft_estimator, "residual", lambda inputs, outputs, pretrained: outputs)


def ridge_not_square_rooted(patch: Patch) -> None:
    """The ridge enters squared."""
    exact = fft_estimator.pseudo_inverse
    patch.setattr(fft_estimator, "pseudo_inverse", lambda x, ridge=None: exact(x, None if ridge is None else ridge**2))


def conditional_mean_of_a_wider_inverse(patch: Patch) -> None:
    """The conditional mean has a degree of freedom too many in E W^{-1}."""
    exact = programs.conditional_risks

    def wrong(basis, drawn, numbers):
        away = jax.numpy.where(numbers.n > numbers.dx, 1.0, -1.0)
        return exact(basis, drawn, numbers._replace(n=numbers.n + away))

    patch.setattr(programs, "conditional_risks", wrong)


def conditional_mean_without_the_unseen(patch: Patch) -> None:
    """The conditional mean forgets the inputs that n < dx samples do not span."""
    exact = programs.conditional_risks

    def wrong(basis, drawn, numbers):
        return exact(basis, drawn._replace(unseen=None), numbers)

    patch.setattr(programs, "conditional_risks", wrong)


def one_rank_more(patch: Patch) -> None:
    """LoRA keeps one direction too many."""
    exact = lora.LoraPath.truncate
    patch.setattr(lora.LoraPath, "truncate", lambda self, rank: exact(self, rank + 1))


def risk_without_sigma(patch: Patch) -> None:
    """The risk of a draw is measured without Sigma."""
    patch.setattr(
        programs, "excess_risk_path", lambda basis, update, shift, root=None: excess_risk_path(basis, update, shift)
    )


def noise_integrated_twice(patch: Patch) -> None:
    """The exact mean over the noise is added to a risk that has noise already."""
    exact = programs._fft_risk_given_design

    def wrong(sampled, parameters, *, unbiased):
        return exact(sampled._replace(signal=sampled.whitened), parameters, unbiased=unbiased)

    patch.setattr(programs, "_fft_risk_given_design", wrong)


# -- theory ---------------------------------------------------------------------------------------------------------


def dof_in_theory(patch: Patch) -> None:
    """FFT's variance has n - dx for n - dx - 1."""
    exact = fft_theory.overdetermined

    def wrong(problem):
        risk = exact(problem)
        factor = (problem.n - problem.dx - 1) / (problem.n - problem.dx)
        return risk._replace(variance=risk.variance * factor)

    patch.setattr(fft_theory, "overdetermined", wrong)


def bias_without_unseen_share(patch: Patch) -> None:
    """FFT's bias lacks the factor 1 - n/dx."""
    exact = fft_theory.underdetermined
    patch.setattr(fft_theory, "underdetermined", lambda p: exact(p)._replace(bias=p.pretrained_risk))


def std_for_variance_in_theory(patch: Patch) -> None:
    """Theory takes the noise standard deviation for its variance."""
    patch.setattr(Problem, "noise_trace", property(lambda self: float(np.trace(self.sigma_eps)) / self.noise_std))


def dof_in_theory_underdetermined(patch: Patch) -> None:
    """FFT's variance has dx - n for dx - n - 1."""
    exact = fft_theory.underdetermined

    def wrong(problem):
        risk = exact(problem)
        return risk._replace(variance=risk.variance * (problem.dx - problem.n - 1) / (problem.dx - problem.n))

    patch.setattr(fft_theory, "underdetermined", wrong)


# -- statistics -----------------------------------------------------------------------------------------------------


def stderr_of_one_draw(patch: Patch) -> None:
    """The standard deviation of one draw is reported for that of the mean."""
    exact = RunningMoments.stderr.fget
    patch.setattr(RunningMoments, "stderr", property(lambda self: exact(self) * np.sqrt(self.count)))


def chunks_not_merged(patch: Patch) -> None:
    """Moments of two chunks are merged without the distance of their means."""

    def wrong(self, other):
        n = self.count + other.count
        mean = (self.count * self.mean + other.count * other.mean) / n
        return RunningMoments(n, mean, self.second + other.second, self.third + other.third)

    patch.setattr(RunningMoments, "merge", wrong)


def critical_value_too_small(patch: Patch) -> None:
    """Means are rejected from a fiftieth of the right critical value on."""
    exact = statistics.critical_value
    patch.setattr(statistics, "critical_value", lambda *arguments: exact(*arguments) / 50)


def half_the_prediction(patch: Patch) -> None:
    """A mean is compared with half of what is predicted."""
    exact = statistics.mean_test

    def wrong(deviations, predicted, level):
        return exact(deviations + predicted / 2, predicted / 2, level)

    patch.setattr(statistics, "mean_test", wrong)


BUGS = [
    Bug(dof_in_sampler, "sampler", ("prop3-fft-overdetermined",)),
    Bug(covariance_left_out_of_the_reduction, "sampler", ("sufficient-law-overdetermined",)),
    Bug(ridge_of_unit_inputs, "sampler", ("ridge-has-the-units-of-the-inputs",), quick=True),
    Bug(unseen_directions_too_strong, "sampler", ("sufficient-law-underdetermined",)),
    Bug(variance_for_std, "sampler", ("thm1-fft-risk-given-design", "prop5-fft-underdetermined-scaled")),
    Bug(inputs_not_correlated, "sampler", ("sufficient-law-overdetermined",)),
    Bug(every_draw_the_same, "sampler", ("prop3-fft-overdetermined",)),
    Bug(chi_squared_for_chi, "sampler", ("conditional-mean-overdetermined", "conditional-mean-underdetermined")),
    Bug(
        noise_of_the_directions_too_small,
        "sampler",
        ("conditional-mean-overdetermined", "conditional-mean-underdetermined"),
    ),
    Bug(no_whitening, "estimator", ("prop2-lora-closed-form", "prop2-lora-simulated-risk")),
    Bug(
        no_whitening_of_sufficient_draws,
        "estimator",
        ("sufficient-draws-overdetermined", "sufficient-draws-underdetermined"),
    ),
    Bug(weakest_directions_first, "estimator", ("prop2-lora-simulated-risk",), quick=True),
    Bug(
        pretrained_left_in_residual,
        "estimator",
        ("prop1-fft-closed-form", "prop1-fft-nearest-to-pretrained", "prop2-lora-closed-form"),
    ),
    Bug(ridge_not_square_rooted, "estimator", ("ridge-lora-closed-form",), quick=True),
    Bug(conditional_mean_of_a_wider_inverse, "estimator", ("conditional-mean-overdetermined",)),
    Bug(conditional_mean_without_the_unseen, "estimator", ("conditional-mean-underdetermined",)),
    Bug(one_rank_more, "estimator", ("prop2-lora-closed-form", "prop2-lora-least-training-loss")),
    Bug(risk_without_sigma, "estimator", ("prop2-lora-simulated-risk",)),
    Bug(noise_integrated_twice, "estimator", ("thm3-noise-integrated",)),
    Bug(dof_in_theory, "theory", ("prop3-fft-overdetermined",)),
    Bug(dof_in_theory_underdetermined, "theory", ("prop5-fft-underdetermined",)),
    Bug(bias_without_unseen_share, "theory", ("prop5-fft-underdetermined-scaled",), quick=True),
    Bug(std_for_variance_in_theory, "theory", ("thm1-fft-risk-given-design", "prop3-fft-overdetermined")),
    Bug(stderr_of_one_draw, "statistics", ("monte-carlo-summary",), quick=True),
    Bug(chunks_not_merged, "statistics", ("monte-carlo-summary",)),
    Bug(critical_value_too_small, "statistics", ("prop3-fft-overdetermined",)),
    Bug(half_the_prediction, "statistics", ("prop3-fft-overdetermined",)),
    *bugs_of_methods.BUGS,
    *bugs_of_instruments.BUGS,
]


def _row(bug: Bug, found: list[str]) -> str:
    what = (bug.plant.__doc__ or "").strip()
    return f"| {bug.where} | {what} | {', '.join(found) or '**none**'} | {len(found)} of {len(bug.catchers)} |"


def main() -> int:
    started, missed = time.perf_counter(), 0
    rows = []
    for bug in BUGS:
        found = caught(bug)
        missed += not found
        rows.append(_row(bug, found))
        print(f"{time.perf_counter() - started:5.0f} s  {rows[-1]}", flush=True)
    content = [
        "# Planted bugs",
        "",
        f"Written by `python benchmarks/planted_bugs.py`: {len(BUGS)} bugs, {len(BUGS) - missed} caught.",
        "",
        "| where | bug | claims whose verdict is not as expected | of those checked |",
        "| --- | --- | --- | --- |",
        *rows,
    ]
    (RESULTS / "planted_bugs.md").write_text("\n".join(content) + "\n")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
