"""Fine-tuning tasks on data that scikit-learn ships, to see what leave-one-out errors are worth where nothing is
Gaussian: the pretrained map is least squares on one domain, and is adapted to n rows of another.

| task        | inputs -> outputs                                         | pretrained on -> adapted to               |
|-------------|-----------------------------------------------------------|-------------------------------------------|
| `halves`    | top half of a digit -> its bottom half (26, 26)           | digits 0-4 -> digits 5-9                  |
| `denoising` | noisy digit -> the digit (64, 64)                         | upright -> rotated by 20 degrees          |
| `features`  | random ReLU features of a digit -> its class, one-hot     | upright -> rotated by 30 degrees          |
| `patches`   | 8 x 8 pixels of a photograph -> the 8 x 8 to their right  | photograph 1 -> photograph 2              |
| `tumours`   | means and errors of cell features -> their extremes       | benign -> malignant                       |

Rows of no task are in both domains. Nothing is downloaded. Needs the extra `sklearn`.
"""

import functools
import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.own_data.advice import advised
from linreg_lora.own_data.choice import AUTO, SHARES, choose
from linreg_lora.own_data.deletion import Design, deletions, design, update
from linreg_lora.own_data.losses import directions
from linreg_lora.own_data.samples import Samples, samples
from linreg_lora.seeds import derived_seed

#: What is compared: the pretrained map alone; full fine-tuning; LoRA at the rank of least leave-one-out error, without
#: ridge; LoRA at the rank and the ridge that `advise` chooses; full fine-tuning with its ridge of least such error.
METHODS = ("none", "fft", "lora", "lora-ridge", "fft-ridge")
#: Of the intervals.
LEVEL = 0.9
_NOISE_STD, _SEED = 0.25, 0
#: Pixels that vary by less than this are left out where each is an input or output of its own.
_LEAST_STD = 0.05
_FEATURES, _LEAST_ACTIVE = 100, 0.01
_SIDE = 8


class Task(NamedTuple):
    """`pool`: rows of the new domain, with what the pretrained map leaves of their outputs; `sizes`: numbers of rows to
    adapt to, about dx / 2, 3 dx / 2 and 3 dx; `sha256`: of the numbers that both domains are made of."""

    name: str
    pool: Samples
    sizes: tuple[int, ...]
    sha256: str


class Domains(NamedTuple):
    """Inputs and outputs of the old and of the new domain."""

    old: tuple[np.ndarray, np.ndarray]
    new: tuple[np.ndarray, np.ndarray]


class Splits(NamedTuple):
    """Random splits of a task's pool into n rows to adapt to and all others to test on; one row a split.

    `predicted`, `measured`: leave-one-out and test errors without ridge at ranks 0..min(dx, dy); ranks beyond a split's
    largest are full fine-tuning. `promised`, `errors`: the same of `METHODS`. `best`: the least test error of any rank
    without ridge, and of any rank and ridge, in hindsight. `low`, `high`: `Advice.interval` of the choice `lora-ridge`
    at `LEVEL`; `stderr`: of its leave-one-out error. `probability`: `Advice.probability_lora_beats_fft`; `beats`:
    whether that came true.
    """

    predicted: Float[np.ndarray, "splits ranks"]
    measured: Float[np.ndarray, "splits ranks"]
    promised: Float[np.ndarray, "splits methods"]
    errors: Float[np.ndarray, "splits methods"]
    best: Float[np.ndarray, "splits 2"]
    low: Float[np.ndarray, "splits"]
    high: Float[np.ndarray, "splits"]
    stderr: Float[np.ndarray, "splits"]
    probability: Float[np.ndarray, "splits"]
    beats: Float[np.ndarray, "splits"]


@functools.cache
def task(name: str) -> Task:
    """A task by its name. Raises `InvalidInput` for another name, `LinregLoraError` where scikit-learn is missing."""
    if name not in _TASKS:
        raise InvalidInput("task", f"one of {', '.join(_TASKS)}", name)
    require_sklearn()
    from sklearn.linear_model import LinearRegression

    (x, y), new = domains = _TASKS[name]()
    pool = samples(*new, LinearRegression().fit(x, y))
    dx = x.shape[1]
    digest = hashlib.sha256()
    for array in (part for domain in domains for part in domain):
        digest.update(array.tobytes())
    return Task(name, pool, (dx // 2, 3 * dx // 2, 3 * dx), digest.hexdigest())


def require_sklearn() -> None:
    """Raises `LinregLoraError` where scikit-learn is missing."""
    try:
        import sklearn.datasets  # noqa: F401
    except ImportError:
        raise LinregLoraError("real tasks need scikit-learn: pip install 'linreg-lora[sklearn]'") from None


def splits(name: str, n: int, count: int, seed: int) -> Splits:
    """`count` random splits of a task, with n rows to adapt to."""
    found = task(name)
    rng = np.random.default_rng(derived_seed(seed, f"{name} {n}"))
    rows = [_one(found.pool, rng.permutation(len(found.pool.inputs)), n) for _ in range(count)]
    return Splits(*(np.array(column) for column in zip(*rows, strict=True)))


def errors_on(given: Samples, at: Design, ridge: float, tested: Samples) -> Float[np.ndarray, "ranks"]:
    """Mean squared error on other rows, summed over outputs, of LoRA fitted to `given` at ranks 0, 1, ..., FFT's."""
    basis = directions(deletions(at, given.residual, ridge)).basis
    centre = np.mean(given.residual, axis=0) if at.intercept else np.zeros(given.residual.shape[1])
    left = tested.residual - centre
    said = (tested.inputs - at.mean) @ (update(at, given.residual, ridge).T @ basis)
    gain = np.mean(said * (said - 2 * left @ basis), axis=0)
    return np.mean(np.sum(left**2, axis=1)) + np.append(0.0, np.cumsum(gain))


def _one(pool: Samples, order: np.ndarray, n: int) -> tuple[object, ...]:
    """The fields of `Splits` of one split."""
    given, tested = (Samples(pool.inputs[rows], pool.residual[rows], None) for rows in (order[:n], order[n:]))
    at = design(given.inputs, intercept=True)
    choice = choose(given, at, AUTO, AUTO)
    found, plain = advised(given, at, choice), choice.plain
    ridges = [0.0, *(float(share * at.values[0] ** 2) for share in SHARES)]
    curves = {ridge: errors_on(given, at, ridge, tested) for ridge in {*ridges, found.ridge, found.fft_ridge.ridge}}
    measured, best = curves[0.0], plain.best_rank
    promised = (plain.error[0], plain.fft_error, plain.error[best], found.error, found.fft_ridge.error)
    errors = (
        measured[0], measured[-1], measured[best], curves[found.ridge][found.rank], curves[found.fft_ridge.ridge][-1],
    )  # fmt: skip
    low, high = found.interval(LEVEL)
    ours, q = curves[found.ridge], len(measured) - 1
    lower = found.rank if found.rank < q else int(np.argmin(found.curve.error[:-1]))
    return (
        _padded(plain.error, pool),
        _padded(measured, pool),
        promised,
        errors,
        (np.min(measured), min(np.min(curves[ridge]) for ridge in ridges)),
        low,
        high,
        found.stderr,
        found.probability_lora_beats_fft,
        ours[lower] < ours[-1],
    )


def _padded(errors: Float[np.ndarray, "k"], pool: Samples) -> Float[np.ndarray, "ranks"]:
    ranks = min(pool.inputs.shape[1], pool.residual.shape[1]) + 1
    return np.append(errors, np.full(ranks - len(errors), errors[-1]))


# -- the tasks ----------------------------------------------------------------------------------------------------


@functools.cache
def _digits() -> tuple[Float[np.ndarray, "N 64"], np.ndarray]:
    from sklearn.datasets import load_digits

    loaded: Any = load_digits()
    return loaded.data / 16, loaded.target


def _rotated(images: Float[np.ndarray, "N 64"], degrees: float) -> Float[np.ndarray, "N 64"]:
    from scipy.ndimage import rotate

    turned = rotate(images.reshape(-1, _SIDE, _SIDE), degrees, axes=(2, 1), reshape=False, order=1)
    return turned.reshape(images.shape)


def _halves() -> Domains:
    images, digit = _digits()
    varied = np.std(images, axis=0) > _LEAST_STD
    top = np.arange(images.shape[1]) < images.shape[1] // 2
    x, y = images[:, varied & top], images[:, varied & ~top]
    old = digit < 5
    return Domains((x[old], y[old]), (x[~old], y[~old]))


def _denoising() -> Domains:
    images, _ = _digits()
    half = len(images) // 2
    clean = np.vstack([images[:half], _rotated(images[half:], 20)])
    noisy = clean + _NOISE_STD * np.random.default_rng(_SEED).standard_normal(clean.shape)
    return Domains((noisy[:half], clean[:half]), (noisy[half:], clean[half:]))


def _features() -> Domains:
    images, digit = _digits()
    half, one_hot = len(images) // 2, np.eye(10)[digit]
    seen = np.vstack([images[:half], _rotated(images[half:], 30)])
    weights = np.random.default_rng(_SEED).standard_normal((images.shape[1], _FEATURES)) / np.sqrt(images.shape[1])
    x = np.maximum(seen @ weights, 0)
    x = x[:, np.mean(x[:half] > 0, axis=0) > _LEAST_ACTIVE]
    return Domains((x[:half], one_hot[:half]), (x[half:], one_hot[half:]))


def _patches() -> Domains:
    from sklearn.datasets import load_sample_images

    first, second = (_pairs(np.mean(photo, axis=2) / 255) for photo in load_sample_images().images)
    return Domains(first, second)


def _pairs(grey: Float[np.ndarray, "height width"]) -> tuple[np.ndarray, np.ndarray]:
    """Patches that do not overlap, and the ones to their right."""
    rows, columns = (size // _SIDE for size in grey.shape)
    tiles = grey[: rows * _SIDE, : columns * _SIDE].reshape(rows, _SIDE, columns, _SIDE).swapaxes(1, 2)
    flat = tiles.reshape(rows, columns, _SIDE**2)
    pairs = columns // 2
    left, right = flat[:, 0 : 2 * pairs : 2], flat[:, 1 : 2 * pairs : 2]
    return left.reshape(-1, _SIDE**2), right.reshape(-1, _SIDE**2)


def _tumours() -> Domains:
    from sklearn.datasets import load_breast_cancer

    loaded: Any = load_breast_cancer()
    benign = loaded.target == 1
    values = (loaded.data - np.mean(loaded.data[benign], axis=0)) / np.std(loaded.data[benign], axis=0)
    x, y = values[:, :20], values[:, 20:]
    return Domains((x[benign], y[benign]), (x[~benign], y[~benign]))


_TASKS: dict[str, Callable[[], Domains]] = {
    "halves": _halves,
    "denoising": _denoising,
    "features": _features,
    "patches": _patches,
    "tumours": _tumours,
}
#: The tasks, by name.
NAMES = tuple(_TASKS)
