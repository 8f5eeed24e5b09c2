"""How much the loss of LoRA and of FFT rises under worst-case perturbed inputs, by simulation.

The rise is that of `theory.worst_perturbation`. Maps come from explicit data, one decomposition a draw for all ranks.
Of each, fresh samples (x, y) are perturbed by the worst d of length tau, one secular equation a sample. Every method
sees the same samples.
"""

from collections.abc import Sequence

import numpy as np

from linreg_lora import validation
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed
from linreg_lora.simulation.fine_tuned_maps import Measure, Runs
from linreg_lora.simulation.perturbed_inputs import InputRise
from linreg_lora.theory.input_perturbation import required_pretrained
from linreg_lora.theory.worst_perturbation import worst_rise


def simulate_worst_rise(
    problem: Problem, *, radius: float | int, trials: int, seed: int, ranks: object = None, samples: int = 16
) -> InputRise:
    """The expected worst rise E max_{|d| <= tau} |e + M d|^2 - |e|^2 of LoRA at each rank, and of FFT, M = A0 + D.

    `radius` tau in units of x, `problem.pretrained` A0 is needed; `trials` data sets (at least 2) from `seed`, of each
    `samples` fresh samples; `ranks` default to all of 0..min(n, dx, dy). Fields as in `InputRise`, for |y - M x|^2;
    standard errors are those of means over data sets. Gaussian inputs without a mean.

    Where the mean is infinite raises `InvalidInput`; where the variance is, or only a ridge or rare draws bound it,
    standard errors are nan and `notes` say so. Raises `NumericalFailure` if a draw is not finite.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=12, dx=6, dy=5, spectrum=(2.0,), noise_std=0.5, pretrained=np.eye(5, 6))
    >>> drawn = ll.simulation.simulate_worst_rise(problem, radius=0.1, trials=64, seed=0)
    >>> bool(drawn.rise[1] < drawn.fft_rise)
    True
    """
    runs = Runs.of(problem, "worst rise", trials=trials, seed=seed, ranks=ranks)
    pretrained = required_pretrained(problem)
    radius = validation.nonnegative_number("radius", radius)
    samples = validation.positive_integer("samples", samples)
    found = runs.means(_measure(problem, pretrained, runs.seed, radius, samples))
    return InputRise(
        ranks=runs.ranks,
        rise=found.mean,
        stderr=found.stderr,
        fft_rise=found.fft_mean,
        fft_stderr=found.fft_stderr,
        difference=found.difference,
        difference_stderr=found.difference_stderr,
        moments=problem.moments,
        notes=found.notes,
        trials=runs.trials,
        seed=runs.seed,
    )


def _measure(problem: Problem, pretrained: np.ndarray, seed: int, radius: float, samples: int) -> Measure:
    """The worst rises of the updates of one draw, means over fresh samples that all of them see."""
    reduced = problem.without_null_inputs()
    inside = reduced.pretrained
    assert inside is not None, "required_pretrained has seen to it"
    # Inputs without variance are perturbed too, and no update moves what A0 does with them.
    unseen = pretrained @ pretrained.T - inside @ inside.T
    values, vectors = np.linalg.eigh(unseen)
    beyond = vectors * np.sqrt(np.maximum(values, 0.0))
    rng = np.random.default_rng(derived_seed(seed, "worst rise"))

    def measure(updates: Sequence[np.ndarray]) -> list[float]:
        x = rng.standard_normal((samples, reduced.dx)) @ reduced.sigma_sqrt
        noise = rng.standard_normal((samples, reduced.dy)) @ reduced.sigma_eps_sqrt
        found = []
        for update in updates:
            errors = x @ (update - reduced.shift).T - noise
            found.append(float(np.mean(worst_rise(np.column_stack([inside + update, beyond]), errors, radius))))
        return found

    return measure
