"""The spectral norm of fine-tuned maps, ||A0 + D||_2, by simulation: what large worst-case perturbations cost.

A perturbation of an input by at most tau raises the loss by tau^2 ||A0 + D||_2^2 once tau is large
(`theory.worst_perturbation`); limits of the norm are in `theory.perturbed_norms`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from linreg_lora.problem import Problem
from linreg_lora.simulation.fine_tuned_maps import Runs
from linreg_lora.theory.input_perturbation import required_pretrained


@dataclass(frozen=True, kw_only=True)
class SpectralNorms:
    """Means of ||A0 + D||_2 with standard errors, nan where a variance is missing, of which `notes` tell.

    | field                             | meaning                                                    |
    |-----------------------------------|------------------------------------------------------------|
    | `ranks`                           | LoRA ranks r; rank 0 is A0                                 |
    | `norm`, `stderr`                  | E ||A0 + D_r||_2                                           |
    | `fft_norm`, `fft_stderr`          | E ||A0 + D_FFT||_2                                         |
    | `difference`, `difference_stderr` | E [||A0 + D_r||_2 - ||A0 + D_FFT||_2], on the same draws   |
    """

    ranks: Int[np.ndarray, "k"]
    norm: Float[np.ndarray, "k"]
    stderr: Float[np.ndarray, "k"]
    fft_norm: float
    fft_stderr: float
    difference: Float[np.ndarray, "k"]
    difference_stderr: Float[np.ndarray, "k"]
    notes: tuple[str, ...]
    trials: int
    seed: int


def simulate_norm(problem: Problem, *, trials: int, seed: int, ranks: object = None) -> SpectralNorms:
    """E ||A0 + D||_2 of LoRA at each rank, and of FFT; `problem.pretrained` A0 is needed.

    `trials` data sets (at least 2) from `seed`; `ranks` default to all of 0..min(n, dx, dy). Gaussian inputs
    without a mean. Raises `InvalidInput` elsewhere and where the update has no mean, and `NumericalFailure` if a draw
    is not finite.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=12, dx=6, dy=5, spectrum=(2.0,), noise_std=0.5, pretrained=np.eye(5, 6))
    >>> drawn = ll.simulation.simulate_norm(problem, trials=64, seed=0)
    >>> drawn.norm[0].item(), bool(drawn.norm[-1] == drawn.fft_norm)
    (1.0, True)
    """
    runs = Runs.of(problem, "spectral norm", trials=trials, seed=seed, ranks=ranks)
    pretrained = required_pretrained(problem)
    inside = problem.without_null_inputs().pretrained
    assert inside is not None, "required_pretrained has seen to it"
    unseen = pretrained @ pretrained.T - inside @ inside.T

    def norm(update: np.ndarray) -> float:
        fitted = inside + update
        return float(np.sqrt(np.linalg.eigvalsh(fitted @ fitted.T + unseen)[-1]))

    found = runs.means(lambda updates: [norm(update) for update in updates])
    return SpectralNorms(
        ranks=runs.ranks,
        norm=found.mean,
        stderr=found.stderr,
        fft_norm=found.fft_mean,
        fft_stderr=found.fft_stderr,
        difference=found.difference,
        difference_stderr=found.difference_stderr,
        notes=found.notes,
        trials=runs.trials,
        seed=runs.seed,
    )
