"""A block-diagonal update: the outputs of a block see the inputs of that block and no others.

With m blocks, D = diag(D_1, ..., D_m), D_g of dy/m rows and k = dx/m columns, trained by least squares on the residual
R = Y - A0 X. A row j of block g is least squares on the k inputs x_S of its block, S = S_g:

    D_jS = R_j X_S^T (X_S X_S^T)^{-1}.

Let a = Delta_j Sigma_{.S} Sigma_SS^{-1}, the best that the block can do. What it misses, (Delta_j x - a x_S), is
Gaussian and independent of x_S, of variance

    b_j = Delta_j (Sigma - Sigma_{.S} Sigma_SS^{-1} Sigma_{S.}) Delta_j^T,

so row j is ordinary least squares with k inputs and noise variance v_j + b_j, v_j = (Sigma_eps)_jj, and

    E risk = sum_j [ b_j + (v_j + b_j) k / (n - k - 1) ] = sum_j [ (v_j + b_j)(n - 1)/(n - k - 1) - v_j ],   n > k + 1,

exact for any Sigma and Sigma_eps. With one block it is full fine-tuning.
"""

import dataclasses
from typing import Any

import numpy as np

import linreg_lora as ll

#: The claims file beside this module, which `linreg-lora check --paper block-diagonal` finds once it is installed.
CLAIMS = "block_diagonal.yaml"


# -- the method -----------------------------------------------------------------------------------------------------


def fit(x: Any, residual: Any, blocks: int) -> Any:
    """The update D (... x dy x dx) from inputs X (... x dx x n) and residuals R (... x dy x n), by blocks.

    Of any library of arrays, NumPy or JAX.
    """
    xp = x.__array_namespace__()
    dx, dy = x.shape[-2], residual.shape[-2]
    rows = []
    for inputs, outputs in zip(_parts(dx, blocks), _parts(dy, blocks), strict=True):
        own, wanted = x[..., inputs, :], residual[..., outputs, :]
        block = xp.linalg.solve(own @ own.mT, own @ wanted.mT).mT
        before, after = (xp.zeros((*block.shape[:-1], count)) for count in (inputs.start, dx - inputs.stop))
        rows.append(xp.concat([before, block, after], axis=-1))
    return xp.concat(rows, axis=-2)


def _parts(size: int, blocks: int) -> list[slice]:
    """Blocks of one size, in order."""
    if not (isinstance(blocks, int) and blocks >= 1):
        raise ll.InvalidInput("blocks", "an integer >= 1", blocks)
    if size % blocks:
        raise ll.InvalidInput("blocks", f"a divisor of dx and dy, so of {size}", blocks)
    length = size // blocks
    return [slice(start, start + length) for start in range(0, size, length)]


# -- its theory -----------------------------------------------------------------------------------------------------


def expected_risk(problem: ll.Problem, blocks: int) -> float:
    """sum_j [ b_j + (v_j + b_j) k / (n - k - 1) ]; infinite for n within one sample of k."""
    k = problem.dx // len(_parts(problem.dx, blocks))
    missed, noise = misfit(problem, blocks), np.diag(problem.sigma_eps)
    if problem.n <= k + 1:
        return np.inf
    return float(np.sum(missed + (noise + missed) * k / (problem.n - k - 1)))


def misfit(problem: ll.Problem, blocks: int) -> np.ndarray:
    """b_j of every output: the variance of what its block cannot represent."""
    sigma, missed = problem.sigma, np.empty(problem.dy)
    for inputs, outputs in zip(_parts(problem.dx, blocks), _parts(problem.dy, blocks), strict=True):
        seen = sigma[:, inputs] @ np.linalg.solve(sigma[inputs, inputs], sigma[inputs, :])
        rows = problem.shift[outputs]
        missed[outputs] = np.sum((rows @ (sigma - seen)) * rows, axis=1)
    return missed


# -- what the claim measures, what it predicts, and two plausible mistakes ------------------------------------------


@ll.claims.register_experiment("block-diagonal.risk")
def block_diagonal_risk(problem: ll.Problem, trials: int, seed: int, *, blocks: float) -> ll.claims.Sample:
    """Excess risk of the block-diagonal update on explicit data."""
    if blocks != int(blocks):
        raise ll.InvalidInput("blocks", "an integer >= 1", blocks)
    rng = np.random.default_rng(seed)
    x = problem.sigma_sqrt @ rng.standard_normal((trials, problem.dx, problem.n))
    noise = problem.sigma_eps_sqrt @ rng.standard_normal((trials, problem.dy, problem.n))
    update = fit(x, problem.shift @ x + noise, int(blocks))
    error = (update - problem.shift) @ problem.sigma_sqrt
    return ll.claims.Sample(np.sum(error**2, axis=(1, 2))[:, None], {"blocks": np.asarray(int(blocks))})


@ll.claims.register_prediction("block-diagonal.exact")
def exact(problem: ll.Problem, sample: ll.claims.Sample) -> float:
    """sum_j [ (v_j + b_j)(n - 1)/(n - k - 1) - v_j ]."""
    return expected_risk(problem, int(sample.context["blocks"]))


@ll.claims.register_prediction("block-diagonal.misfit-is-no-noise")
def misfit_is_no_noise(problem: ll.Problem, sample: ll.claims.Sample) -> float:
    """sum_j [ b_j + v_j k / (n - k - 1) ]: what a block misses does not disturb its fit."""
    blocks = int(sample.context["blocks"])
    k = problem.dx // blocks
    return float(np.sum(misfit(problem, blocks)) + problem.noise_trace * k / (problem.n - k - 1))


@ll.claims.register_prediction("block-diagonal.uncorrelated-inputs")
def uncorrelated_inputs(problem: ll.Problem, sample: ll.claims.Sample) -> float:
    """As if the inputs of a block told nothing of the others: its b_j is that of diag(Sigma)."""
    alone = problem.replace(input_covariance=np.diag(problem.sigma).copy())
    return expected_risk(alone, int(sample.context["blocks"]))


# -- the method for `linreg-lora compare --adapt block-diagonal:2 --plugin block_diagonal.py` -----------------------


@ll.methods.register_method("block-diagonal")
@dataclasses.dataclass(frozen=True)
class BlockDiagonal(ll.methods.Method):
    """Least squares block by block, without ridge, for n >= dx / blocks; dx dy / blocks parameters."""

    blocks: int
    broadcasts = True  # `fit` takes leading dimensions

    def __post_init__(self) -> None:
        _parts(self.blocks, self.blocks)

    @property
    def name(self) -> str:
        return f"block-diagonal:{self.blocks}"

    def parameters(self, problem: ll.Problem) -> int:
        return problem.dx * problem.dy // self.blocks

    def moments(self, problem: ll.Problem) -> ll.Moments:
        """Those of FFT on the dx / blocks inputs of a block: the k-th moment exists where n - dx / blocks > 2 k - 1."""
        self._require_samples(problem.n, problem.dx)
        apart = problem.n - problem.dx // self.blocks
        return ll.Moments.NO_MEAN if apart <= 1 else ll.Moments.NO_VARIANCE if apart <= 3 else ll.Moments.FINITE

    def fit(self, inputs: Any, outputs: Any, pretrained: Any = None, ridge: Any = None) -> ll.methods.Update:
        if ridge is not None:
            raise ll.InvalidInput("ridge", "none", "a ridge", "this method has no penalty")
        self._require_samples(inputs.shape[-1], inputs.shape[-2])
        residual = outputs if pretrained is None else outputs - pretrained @ inputs
        return ll.methods.Update.linear(fit(inputs, residual, self.blocks))

    def expected_risk(self, problem: ll.Problem) -> ll.methods.MethodRisk:
        if problem.ridge > 0:
            raise ll.InvalidInput("ridge", "0", problem.ridge, "this method has no penalty")
        self._require_samples(problem.n, problem.dx)
        return ll.methods.MethodRisk(
            problem=problem,
            method=self.name,
            parameters=self.parameters(problem),
            computed_by="theory",
            risk=expected_risk(problem, self.blocks),
            formula="sum_j [ (v_j + b_j)(n - 1)/(n - k - 1) - v_j ], exact",
        )

    def _require_samples(self, n: int, dx: int) -> None:
        if n < dx // self.blocks:
            raise ll.InvalidInput("n", "at least dx / blocks samples", n, "take more blocks")
