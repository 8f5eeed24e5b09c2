"""LoRA as Hugging Face PEFT trains it, against the closed form D_r; and adapters of `linreg-lora fit --save` in PEFT.

    python benchmarks/peft_witness.py

Needs the extra `peft`. `peft.LoraConfig` on a `torch.nn.Linear` with PEFT's own start (B = 0, A uniform), loss
||Y - (A0 + g B A) X||_F^2 / (2n), inputs of unequal variances; n above and below dx; ranks below, at and above that of
the shift. What trains is compared on range(X): off it, factors keep what they started with. Writes `results/peft.md`;
exits 1 where an error is above `TOLERANCE`.
"""

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import peft
import torch
from jaxtyping import Float

import linreg_lora as ll
from linreg_lora.files.atomic import write_atomically
from linreg_lora.own_data.adapter import write_adapter

RESULTS = Path(__file__).parent / "results"
TOLERANCE = 1e-6
DX, DY, SPECTRUM = 30, 25, (3.0, 2.0, 1.0)
SAMPLES, RANKS = (120, 20), (2, 3, 6)
_STEPS = 4000
#: Least ratio of neighbouring singular values of F at a rank. First-order methods converge at a rate proportional to
#: their difference; at this one 4000 steps leave less than rounding.
_LEAST_GAP = 1.05
#: A fresh start of L-BFGS forgets curvature; more than one ends nearer to the minimum than its line search alone.
_RESTARTS = 3


_TRAINING = ["n", "r", "gap", "optimiser", "error", "A off range(X)", "steps", "seconds"]
_SAVING = ["n", "offset", "model in float32", "model in float64"]
_TEXT = """# PEFT against the closed form

Written by `python benchmarks/peft_witness.py`: `peft.LoraConfig` on a `torch.nn.Linear`, trained, against D_r.
{versions}, Python {python}.

dx = {dx}, dy = {dy}, inputs of variances 1/4 to 1, unit noise, a shift of singular values 3, 2, 1; alpha = 2r, PEFT's
own start, no dropout, `bias` none, loss the sum of squares over 2n, one thread, float64 unless said. n = 120 is above
dx, n = 20 below.

Error: |(D - D_r) P| / |D_r|, P the projection onto range(X). At most {tolerance:g} is demanded of the first three
optimisers: {verdict}, the largest is {worst:.0e}. That of L-BFGS is where its line search no longer tells losses apart,
the root of rounding. Gap: f_r / f_(r+1), of the singular values of D_FFT X. A off range(X): by how much of itself A
moved there, where the loss does not see it. Gradient descent and L-BFGS leave it as it started, Adam does not; either
way D is D_r on range(X) alone. Steps are evaluations of the loss for L-BFGS.

{training}

Adapters that `linreg-lora fit --save` writes, in single precision, loaded by `PeftModel.from_pretrained`: the largest
difference of predictions from the fit's, relative to the largest prediction.

{saving}
"""


class Data(NamedTuple):
    """Inputs X (dx n), outputs Y (dy n) and the pretrained map A0 (dy dx)."""

    inputs: Float[np.ndarray, "dx n"]
    outputs: Float[np.ndarray, "dy n"]
    pretrained: Float[np.ndarray, "dy dx"]


class Trained(NamedTuple):
    """`update` D = g B A; A before and after; steps (evaluations of the loss for L-BFGS) and seconds."""

    update: Float[np.ndarray, "dy dx"]
    a_before: Float[np.ndarray, "r dx"]
    a_after: Float[np.ndarray, "r dx"]
    steps: int
    seconds: float


class Layer(torch.nn.Module):
    """A model of one layer, `linear`: PEFT adapts layers by name."""

    def __init__(self, weight: Float[np.ndarray, "dy dx"], dtype: torch.dtype, *, bias: bool = False) -> None:
        super().__init__()
        dy, dx = weight.shape
        self.linear = torch.nn.Linear(dx, dy, bias=bias, dtype=dtype)
        with torch.no_grad():
            self.linear.weight.copy_(torch.tensor(weight))
            if bias:
                self.linear.bias.zero_()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.linear(rows)


def drawn(n: int, seed: int = 0) -> Data:
    """Gaussian inputs of variances 1/4 to 1, unit noise, a shift of rank three; redrawn until gaps are wide enough."""
    rng = np.random.default_rng(seed)
    variances = np.linspace(0.25, 1.0, DX)
    problem = ll.Problem(n=n, dx=DX, dy=DY, spectrum=SPECTRUM, noise_std=1.0, input_covariance=variances)
    while True:
        inputs = problem.sigma_sqrt @ rng.standard_normal((DX, n))
        pretrained = rng.standard_normal((DY, DX)) / np.sqrt(DX)
        data = Data(inputs, (pretrained + problem.shift) @ inputs + rng.standard_normal((DY, n)), pretrained)
        if min(gap(data, rank) for rank in RANKS) >= _LEAST_GAP:
            return data


def gap(data: Data, rank: int) -> float:
    """f_r / f_{r+1}, the singular values of F = D_FFT X about the rank."""
    full = ll.estimators.fit_fft(data.inputs, data.outputs, data.pretrained)
    values = np.linalg.svd(full @ data.inputs, compute_uv=False)
    return float(values[rank - 1] / values[rank])


Loss = Callable[[], torch.Tensor]
Optimiser = Callable[[list[torch.nn.Parameter], Loss], int]


def lbfgs(parameters: list[torch.nn.Parameter], loss: Loss) -> int:
    """L-BFGS with a strong-Wolfe line search; evaluations."""
    evaluations = 0
    for _ in range(_RESTARTS):
        optimiser = torch.optim.LBFGS(
            parameters, max_iter=1000, tolerance_grad=1e-12, tolerance_change=0, history_size=30,
            line_search_fn="strong_wolfe",
        )  # fmt: skip

        def closure(optimiser: torch.optim.Optimizer = optimiser) -> torch.Tensor:
            nonlocal evaluations
            evaluations += 1
            return _gradients(optimiser, loss)

        optimiser.step(closure)
    return evaluations


def sgd(parameters: list[torch.nn.Parameter], loss: Loss) -> int:
    """Gradient descent with momentum 0.9."""
    return _steps(torch.optim.SGD(parameters, lr=0.02, momentum=0.9), loss, decays=False)


def adamw(parameters: list[torch.nn.Parameter], loss: Loss) -> int:
    """AdamW without weight decay, its rate falling linearly to 0."""
    return _steps(torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.0), loss, decays=True)


def adamw_constant(parameters: list[torch.nn.Parameter], loss: Loss) -> int:
    """AdamW without weight decay at a constant rate."""
    return _steps(torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.0), loss, decays=False)


def adamw_decay(parameters: list[torch.nn.Parameter], loss: Loss) -> int:
    """AdamW with torch's own weight decay 0.01, its rate falling linearly to 0."""
    return _steps(torch.optim.AdamW(parameters, lr=0.01), loss, decays=True)


def _steps(optimiser: torch.optim.Optimizer, loss: Loss, *, decays: bool) -> int:
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / _STEPS if decays else 1.0)
    for _ in range(_STEPS):
        _gradients(optimiser, loss)
        optimiser.step()
        falling.step()
    return _STEPS


def _gradients(optimiser: torch.optim.Optimizer, loss: Loss) -> torch.Tensor:
    optimiser.zero_grad()
    value = loss()
    value.backward()
    return value


#: Those that must end at D_r, and those that are known not to.
EXACT: dict[str, Optimiser] = {
    "L-BFGS, strong Wolfe": lbfgs,
    "SGD, momentum 0.9, rate 0.02": sgd,
    "AdamW, rate 0.01 falling to 0": adamw,
}
OTHERS: dict[str, Optimiser] = {
    "AdamW, constant rate 0.01": adamw_constant,
    "AdamW, weight decay 0.01, rate 0.01 falling to 0": adamw_decay,
}


def trained(
    data: Data,
    rank: int,
    optimiser: Optimiser,
    *,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    alpha: int | None = None,
    rslora: bool = False,
) -> Trained:
    """Train an adapter of PEFT; `alpha` is twice the rank where none is given."""
    torch.manual_seed(seed)
    configuration = peft.LoraConfig(
        r=rank, lora_alpha=alpha or 2 * rank, lora_dropout=0.0, bias="none", target_modules=["linear"],
        use_rslora=rslora,
    )  # fmt: skip
    model = peft.get_peft_model(Layer(data.pretrained, dtype), configuration, autocast_adapter_dtype=False).to(dtype)
    layer = model.base_model.model.linear
    rows, wanted = (torch.tensor(array.T, dtype=dtype) for array in (data.inputs, data.outputs))
    a = layer.lora_A["default"].weight
    before = a.detach().double().numpy().copy()
    started = time.perf_counter()
    steps = optimiser(
        [p for p in model.parameters() if p.requires_grad],
        lambda: 0.5 * (model(rows) - wanted).square().sum() / len(rows),
    )
    seconds = time.perf_counter() - started
    update = layer.get_delta_weight("default").detach().double().numpy()
    return Trained(update, before, a.detach().double().numpy(), steps, seconds)


def distance(update: Float[np.ndarray, "dy dx"], data: Data, rank: int) -> float:
    """|(D - D_r) P|_F / |D_r|_F, P the projection onto range(X)."""
    closed = ll.estimators.fit_lora(data.inputs, data.outputs, rank, data.pretrained)
    basis = np.linalg.svd(data.inputs, full_matrices=False)[0]
    return float(np.linalg.norm((update - closed) @ basis) / np.linalg.norm(closed))


def unwhitened(data: Data, rank: int) -> Float[np.ndarray, "dy dx"]:
    """The rival: the full update truncated as it is, not in the metric of the inputs."""
    full = ll.estimators.fit_fft(data.inputs, data.outputs, data.pretrained)
    u = np.linalg.svd(full)[0][:, :rank]
    return u @ (u.T @ full)


def loaded(folder: Path, data: Data, dtype: torch.dtype, *, bias: bool = False) -> peft.PeftModel:
    """The adapter of a folder on the pretrained map."""
    return peft.PeftModel.from_pretrained(
        Layer(data.pretrained, dtype, bias=bias), str(folder), autocast_adapter_dtype=False
    )


def predicted(model: torch.nn.Module, data: Data) -> Float[np.ndarray, "n dy"]:
    dtype = next(model.parameters()).dtype
    with torch.no_grad():
        return model(torch.tensor(data.inputs.T, dtype=dtype)).double().numpy()


def saved(data: Data, rank: int, dtype: torch.dtype, *, intercept: bool) -> float:
    """How far predictions of a saved and loaded adapter are from the fit's, relative to the largest of these."""
    rows, wanted = data.inputs.T, data.outputs.T + (1.0 if intercept else 0.0)
    found = ll.own_data.advise(rows, wanted, data.pretrained, rank=rank, ridge=0.0, intercept=intercept)
    direct = rows @ (data.pretrained + found.update).T + found.offset
    with tempfile.TemporaryDirectory() as folder:
        write_adapter(Path(folder), found)
        model = loaded(Path(folder), data, dtype, bias=intercept)
    return float(np.max(np.abs(predicted(model, data) - direct)) / np.max(np.abs(direct)))


def _training() -> tuple[list[list[str]], float]:
    """Rows of the table, and the largest error of what must be exact."""
    rows, worst = [], 0.0
    runs: list[tuple[str, Optimiser, torch.dtype]] = [(name, run, torch.float64) for name, run in EXACT.items()]
    runs += [(name, run, torch.float64) for name, run in OTHERS.items()]
    runs.append(("AdamW, rate 0.01 falling to 0, float32", adamw, torch.float32))
    for n in SAMPLES:
        data = drawn(n)
        for rank in RANKS:
            for name, optimiser, dtype in runs:
                found = trained(data, rank, optimiser, dtype=dtype)
                error = distance(found.update, data, rank)
                worst = max(worst, error if name in EXACT else 0.0)
                cells = [f"{error:.0e}", _moved(found, data), f"{found.steps}", f"{found.seconds:.1f}"]
                rows.append([f"{n}", f"{rank}", f"{gap(data, rank):.2f}", name, *cells])
                print(*rows[-1], sep=" | ", flush=True)
            rival = distance(unwhitened(data, rank), data, rank)
            name = "(D_FFT truncated without the inputs' metric)"
            rows.append([f"{n}", f"{rank}", f"{gap(data, rank):.2f}", name, f"{rival:.0e}", "", "", ""])
    return rows, worst


def _moved(found: Trained, data: Data) -> str:
    """By how much A has moved off range(X), relative to what it was there."""
    if data.inputs.shape[1] >= len(data.inputs):
        return ""
    basis = np.linalg.svd(data.inputs, full_matrices=False)[0]
    off = np.eye(len(basis)) - basis @ basis.T
    return f"{np.linalg.norm((found.a_after - found.a_before) @ off) / np.linalg.norm(found.a_before @ off):.0e}"


def _saving() -> Iterator[list[str]]:
    for n in SAMPLES:
        for intercept in (False, True):
            errors = (saved(drawn(n), 3, dtype, intercept=intercept) for dtype in (torch.float32, torch.float64))
            yield [f"{n}", "yes" if intercept else "no", *(f"{error:.0e}" for error in errors)]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def main() -> int:
    argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0]).parse_args()
    torch.set_num_threads(1)
    rows, worst = _training()
    verdict = "met" if worst <= TOLERANCE else "**missed**"
    versions = {"peft": peft.__version__, "torch": torch.__version__, "linreg-lora": ll.__version__}
    text = _TEXT.format(
        dx=DX, dy=DY, tolerance=TOLERANCE, verdict=verdict, worst=worst,
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
        python=platform.python_version(),
        training="\n".join(_table(_TRAINING, rows)),
        saving="\n".join(_table(_SAVING, list(_saving()))),
    )  # fmt: skip
    write_atomically(RESULTS / "peft.md", text.encode())
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
