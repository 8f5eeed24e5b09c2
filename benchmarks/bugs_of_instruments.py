"""Bugs in the instruments of the claims: one at least in every module that measures something for a paper.

And in the closed forms of poisoned data and of task complexity, and in the sampler of the former. Each is another
wording of one place of a module's source. The functions that it changes get the code that the changed source compiles
to, wherever they are registered or imported, and their own code back afterwards.
"""

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pytest
from bugs_of_methods import Bug

Patch = pytest.MonkeyPatch


class Reworded:
    """`plant` of a `Bug`: in the module `name` of `linreg_lora`'s part `of`, `new` stands where `old` should."""

    def __init__(self, name: str, old: str, new: str, what: str, of: str = "claims") -> None:
        self.name, self.old, self.new, self.__doc__, self.of = name, old, new, what, of
        self.__name__ = f"{name.rpartition('.')[2]}-{what.split(',')[0].rstrip('.').replace(' ', '-').lower()}"

    def __call__(self, patch: Patch) -> None:
        module = importlib.import_module(f"linreg_lora.{self.of}.{self.name}")
        path = Path(inspect.getsourcefile(module) or "")
        source = path.read_text()
        if source.count(self.old) != 1 or self.old.count("\n") != self.new.count("\n"):
            raise ValueError(f"{self.name}: expected one place that says {self.old!r}, and as many lines in its stead")
        before, after = (dict(_functions(compile(text, path, "exec"))) for text in (source, self._changed(source)))
        changed = [name for name, code in after.items() if code != before.get(name)]
        if not changed:
            raise ValueError(f"{self.name}: expected {self.old!r} in a function")
        for name in changed:
            patch.setattr(_live(module, name), "__code__", after[name])

    def _changed(self, source: str) -> str:
        return source.replace(self.old, self.new)


def _functions(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    """The functions of a module and the methods of its classes, by their names."""
    for part in code.co_consts:
        if isinstance(part, CodeType) and "<" not in part.co_qualname:
            is_class = "__qualname__" in part.co_names
            yield from _functions(part) if is_class else [(part.co_qualname, part)]


def _live(module: ModuleType, name: str) -> FunctionType:
    found: object = module
    for part in name.split("."):
        found = vars(found)[part]
    function = inspect.unwrap(found)  # pyright: ignore[reportArgumentType]
    assert isinstance(function, FunctionType)
    return function


def _bug(name: str, catchers: str, what: str, old: str, new: str, *, quick: bool = False) -> Bug:
    return Bug(Reworded(name, old, new, what), f"instrument, {name}", tuple(catchers.split()), quick)


def _of(part: str, name: str, catchers: str, what: str, old: str, new: str) -> Bug:
    return Bug(Reworded(name, old, new, what, part), f"{part}, {name}", tuple(catchers.split()), quick=False)


BUGS = [
    _bug(
        "library.adapted",
        "bias-beside-lora",
        "The difference of two methods is taken the wrong way round.",
        "risks[0] - risks[1]",
        "risks[1] - risks[0]",
    ),
    _bug(
        "library.alignment",
        "lora-truncates-in-the-metric",
        "Inputs have Sigma where its square root should stand.",
        "np.sqrt(problem.n) * problem.sigma_sqrt @",
        "np.sqrt(problem.n) * problem.sigma @",
    ),
    _bug(
        "library.angles",
        "interference-falls-with-similarity",
        "The second task's own part has 1 - c for the root of 1 - c^2.",
        "np.sqrt(1 - similarity**2) * other",
        "(1 - similarity) * other",
    ),
    _bug(
        "library.angles",
        "rank-forgets-of-orthogonal-tasks",
        "Pretraining inputs are those that the shift moves.",
        "[2][::-1][:k].T",
        "[2][:k].T",
    ),
    _bug(
        "library.asymptotics",
        "prop4-largest-inverse-eigenvalue",
        "The bidiagonal form lacks what stands below its diagonal.",
        "diagonal[:, 1:] += below",
        "diagonal[:, 1:] += 0 * below",
    ),
    _bug(
        "library.bases",
        "principal-start-leaves-most-of-the-shift",
        "The start has one component too few.",
        "kept = slice(None, rank) if",
        "kept = slice(None, rank - 1) if",
    ),
    _bug(
        "library.bases",
        "minor-start-leaves-the-minor-energy",
        "The energy of the minor components lacks the strongest.",
        "_tail(a0, min(size) - r)",
        "_tail(a0, min(size) - r + 1)",
    ),
    _bug(
        "library.bases",
        "residual-is-easier-to-quantise",
        "All of A0 is quantised, not its residual.",
        "residual, stored = a0 - _parts(a0, r), QPiSSA",
        "residual, stored = a0, QPiSSA",
    ),
    _bug(
        "library.bases",
        "error-of-a-uniform-grid-stays",
        "Rounding is downwards.",
        "np.round(a0 / width)",
        "np.floor(a0 / width)",
    ),
    _bug(
        "library.bases",
        "full-tuning-forgets-its-base",
        "The residual is that of A0 on the quantised base too.",
        "residual + (a0 - base) @ x, 1",
        "residual, 1",
    ),
    _bug(
        "library.bases",
        "one-alternation-changes-nothing",
        "LoftQ has two alternations where one is asked for.",
        "base, low = _loftq(a0, r, 1)",
        "base, low = _loftq(a0, r, 2)",
    ),
    _bug(
        "library.bases",
        "principal-start-gains-more-at-first",
        "A of PiSSA is frozen.",
        "+ (u[:, :, :r] * weights) @ u[:, :, :r].mT @ h\n",
        "+ 0 * h\n",
    ),
    _bug(
        "library.data_benefit",
        "data-benefit-exact-ratio",
        "The sample that is left out is halved.",
        "fewer[..., -1] = 0",
        "fewer[..., -1] *= 0.5",
    ),
    _bug(
        "library.decay_landscape",
        "bad-conditioning-has-no-bad-minima",
        "The minimum is that of white inputs.",
        "h = best @ s + mu",
        "h = best + mu",
    ),
    _bug(
        "library.decay_landscape",
        "decay-thresholds-singular-values",
        "The decay is not scaled with the product.",
        "(scale * mu)[:, None, None]",
        "mu[:, None, None]",
    ),
    _bug(
        "library.degrees_of_freedom",
        "degrees-of-freedom-of-truncation",
        "The mean is correlated with the noise in place of the fit.",
        "np.sum((fit - mean) * (seen - mean), axis=(1, 2)) / variance\n    squares",
        "np.sum((fit - mean) * seen, axis=(1, 2)) / variance\n    squares",
    ),
    _bug(
        "library.degrees_of_freedom",
        "degrees-of-freedom-of-shrinkage",
        "Values are shrunk by half of the threshold.",
        "np.maximum(s - t, 0.0)",
        "np.maximum(s - t / 2, 0.0)",
    ),
    _bug(
        "library.degrees_of_freedom",
        "exact-degrees-select-better selection-finds-the-best-risk",
        "Every pair is counted once.",
        "lost + 2 * variance * (count + 2 * pairs)",
        "lost + 2 * variance * (count + pairs)",
    ),
    _bug(
        "library.depth",
        "capacity-bound",
        "Layers have the square of their Lipschitz constant.",
        "return lipschitz * jnp.maximum",
        "return lipschitz**2 * jnp.maximum",
    ),
    _bug(
        "library.experiments",
        "lemma5-seen-share",
        "The projector lacks one of the samples.",
        "basis = np.linalg.qr(x)[0]\n    return",
        "basis = np.linalg.qr(x)[0][..., 1:]\n    return",
    ),
    _bug(
        "library.experiments",
        "thm3-fft-risk-given-design",
        "The inverse of fewer samples than inputs is not squared.",
        "inverse = x @ gram @ gram @ x.mT",
        "inverse = x @ gram @ x.mT",
    ),
    _bug(
        "library.factor_balls",
        "limited-factors-threshold",
        "Both factors have the smaller limit.",
        "np.minimum(1, wide / _norms(a))",
        "np.minimum(1, narrow / _norms(a))",
    ),
    _bug(
        "library.factor_chains",
        "random-chain-risk-has-no-best-length",
        "A tenth of what earlier blocks learnt is left in the residual.",
        "seen @ (residual - update @ x)",
        "seen @ (residual - 0.9 * update @ x)",
    ),
    _bug(
        "library.factor_chains",
        "chain-of-one-factor-stays",
        "Every block has the same factor, or a new one, always.",
        "if fresh else a",
        "if True else a",
    ),
    _bug(
        "library.factor_predictions",
        "update-magnitude",
        "The mean square of a Wishart matrix has dx for dx + 1.",
        "r * (r + case.dx + 1)",
        "r * (r + case.dx)",
    ),
    _bug(
        "library.factor_steps",
        "scale-is-a-start-and-a-rate",
        "The slope of A lacks the scale.",
        "scaling * b.mT @ left]",
        "b.mT @ left]",
    ),
    _bug(
        "library.factor_steps",
        "scale-is-a-start-and-a-rate-of-adam",
        "Adam's second moment is not squared.",
        "+ (1 - _BETA[1]) * slope**2",
        "+ (1 - _BETA[1]) * np.abs(slope)",
    ),
    _bug(
        "library.first_updates",
        "update-magnitude",
        "The rows of A are shuffled in one of two places.",
        "h @ a.mT @ a)",
        "h @ a.mT @ np.roll(a, 1, axis=0))",
        quick=True,
    ),
    _bug(
        "library.first_updates",
        "step-costs-two-thirds",
        "One product of a step is not counted.",
        "behind = lora(b.T, slope)",
        "behind = b.T @ slope",
        quick=True,
    ),
    _bug(
        "library.fitted_spectra",
        "full-tuning-has-a-low-rank-solution",
        "Ranks count what rounding leaves.",
        "tol=None",
        "tol=0.0",
    ),
    _bug(
        "library.fitted_spectra",
        "rank-leaves-the-tail-of-the-labels",
        "LoRA has one rank more.",
        "lora = full_and_truncated(x, residual, int(rank))[1]",
        "lora = full_and_truncated(x, residual, int(rank) + 1)[1]",
    ),
    _bug(
        "library.fitted_spectra",
        "full-update-has-a-high-rank",
        "Energies are singular values that are not squared.",
        "compute_uv=False) ** 2, axis=1)\n    needed",
        "compute_uv=False), axis=1)\n    needed",
    ),
    _bug(
        "library.forgetting",
        "fft-forgetting-overdetermined",
        "Sigma_pre is C^T C, not C C^T.",
        '"pretraining": root @ root.T',
        '"pretraining": root.T @ root',
    ),
    _bug(
        "library.inputs",
        "lora-iid-entries",
        "LoRA's risk is that of one rank less.",
        "return path[rank], path[-1]",
        "return path[rank - 1], path[-1]",
    ),
    _bug(
        "library.intruder_maps",
        "intruder-threshold",
        "The edge lacks its cross term.",
        "edge = (np.sqrt(problem.dx) + np.sqrt(problem.dy)) ** 2",
        "edge = problem.dx + problem.dy",
    ),
    _bug(
        "library.intruder_maps",
        "equal-forgetting",
        "The update with the smaller cosine is chosen.",
        "np.where(cosines[0] > cosines[1], *risks)",
        "np.where(cosines[0] < cosines[1], *risks)",
    ),
    _bug(
        "library.intruder_maps",
        "better-exchange",
        "Updates are compared without Sigma.",
        "[updates @ problem.sigma_sqrt for",
        "[updates for",
    ),
    _bug(
        "library.known_subspaces",
        "subspace-fit-pays-k-squared",
        "The noise of all outputs is counted.",
        "np.trace(left.T @ problem.sigma_eps @ left)",
        "np.trace(problem.sigma_eps)",
    ),
    _bug(
        "library.known_subspaces",
        "transfer-beats-the-low-rank-fit",
        "Transfer's residual is that of the target's map.",
        "full_and_truncated(x, residual - source @ x, int(rank))",
        "full_and_truncated(x, residual - problem.shift @ x, int(rank))",
    ),
    _bug(
        "library.known_subspaces",
        "pretraining-samples-help-lora",
        "Pretraining has as many samples as the target.",
        "reduced(problem.replace(n=samples), len(x), seed + 1)",
        "reduced(problem, len(x), seed + 1)",
    ),
    _bug(
        "library.known_subspaces",
        "pretraining-samples-help-lora pretraining-error-averages-out",
        "LoRA has twice its rank after pretraining.",
        "residual - error @ x, rank)[1]",
        "residual - error @ x, 2 * rank)[1]",
    ),
    _bug(
        "library.layers",
        "last-layer-is-weaker",
        "The adapter has one rank more.",
        "r, beside)\n    error",
        "r + 1, beside)\n    error",
    ),
    _bug(
        "library.layers",
        "deep-adapters-are-one-adapter",
        "The first layer has no adapter.",
        "found, condition = _reaching(rng, weights, wanted, r)\n",
        "found, condition = _reaching(rng, weights[1:], wanted, r)\n",
    ),
    _bug(
        "library.intruder_maps",
        "intruder-threshold",
        "The entries of A0 are taken to have no energy.",
        "np.sum(a0**2, axis=(1, 2)) - a0[0].size",
        "np.sum(a0**2, axis=(1, 2))",
    ),
    _bug(
        "library.left_out",
        "leave-one-out",
        "The fits have seen the sample that is left out.",
        "_fits(x[..., :-1], residual[..., :-1], rank, problem.ridge)",
        "_fits(x, residual, rank, problem.ridge)",
    ),
    _bug(
        "library.left_out",
        "stein-unbiased",
        "Every pair of directions is counted once.",
        "pairs = 2 * np.sum(rest",
        "pairs = np.sum(rest",
    ),
    _bug(
        "library.magnitudes",
        "lora-moves-magnitudes-with-directions",
        "Directions are told by 1 + cos.",
        "direction = 1 - np.sum",
        "direction = 1 + np.sum",
    ),
    _bug(
        "library.matrices",
        "hessian-gap",
        "The tangent space lacks what B spans.",
        "np.kron(b, np.eye(size.columns))])\n    basis",
        "np.kron(0 * b, np.eye(size.columns))])\n    basis",
    ),
    _bug(
        "library.methods",
        "more-samples-can-hurt",
        "More samples are subtracted from fewer, or the reverse.",
        "return Sample((few - many)[:, None]",
        "return Sample((many - few)[:, None]",
    ),
    _bug(
        "library.orthogonal_designs",
        "price-of-a-nuclear-norm",
        "The threshold is in units of an entry of the noise.",
        "found.values - threshold * edge(problem, found)",
        "found.values - threshold * found.unit",
    ),
    _bug(
        "library.orthogonal_designs",
        "penalty-below-the-noise-selects-all",
        "Penalties are in units of singular values.",
        "penalty = np.concatenate([[0.0], least])",
        "penalty = np.sqrt(np.concatenate([[0.0], least]))",
    ),
    _bug(
        "library.parts_of_a_step",
        "part-of-a-by-descent",
        "The slope of B lacks the scale.",
        "slopes = g * left @ (a @ x).mT",
        "slopes = left @ (a @ x).mT",
    ),
    _bug(
        "library.parts_of_a_step",
        "part-of-a-grows-with-the-width",
        "A's part is seen by sizes of inputs alone.",
        "b @ (of_a @ x)",
        "b @ (of_a @ np.abs(x))",
    ),
    _bug(
        "library.plain_data",
        "subspace-fit-pays-k-squared",
        "Risks are measured without Sigma.",
        "(error @ problem.sigma) * error",
        "error * error",
    ),
    _bug(
        "library.plain_data",
        "one-full-step-errs-by-the-shift-too",
        "Bartlett's factor has twice its degrees of freedom.",
        "rng.chisquare(n - np.arange(dx)",
        "rng.chisquare(2 * n - np.arange(dx)",
    ),
    _bug(
        "library.plain_risks",
        "higher-rank-always-helps transfer-saturates-at-the-rank-of-the-task",
        "The difference of two ranks is taken the wrong way round.",
        "(of_rank - of_other)[:, None]",
        "(of_other - of_rank)[:, None]",
    ),
    _bug(
        "library.predictions",
        "prop2-lora-closed-form",
        "The metric is S, not its square root.",
        "root = np.sqrt(s**2 + problem.ridge)[:, None]",
        "root = (s**2 + problem.ridge)[:, None]",
    ),
    _bug(
        "library.random_factors",
        "seen-share-of-one-factor random-frozen-b",
        "Rows of a random factor are not orthonormal.",
        "np.linalg.qr(rng.standard_normal((trials, size, rank))).Q.mT",
        "rng.standard_normal((trials, size, rank)).mT / np.sqrt(size)",
    ),
    _bug(
        "library.random_kernels",
        "kernel-error-of-the-effective-dimension",
        "Entries of A have variance 1 / (r + 1).",
        "@ x / np.sqrt(r)",
        "@ x / np.sqrt(r + 1)",
    ),
    _bug(
        "library.random_kernels",
        "training-is-a-random-projection",
        "What B alone reaches is reached with A trained too.",
        "(pace, 0 * pace)",
        "(pace, pace)",
    ),
    _bug(
        "library.rank_one_updates",
        "updated-values-solve-a-secular-equation",
        "The secular equation has a wrong sign.",
        "np.sqrt(alpha * gamma) + beta",
        "np.sqrt(alpha * gamma) - beta",
    ),
    _bug(
        "library.rank_one_updates",
        "intruder-is-seen-from-its-threshold-on",
        "The second direction is taken for the first.",
        "np.linalg.eigh(moved @ moved.mT)[1][:, :, -1]\n",
        "np.linalg.eigh(moved @ moved.mT)[1][:, :, -2]\n",
    ),
    _bug(
        "library.rank_selection",
        "largest-noise-is-tracy-widom",
        "The scale has a square root for a cube root.",
        "(1 / m + 1 / p) ** (1 / 3)",
        "(1 / m + 1 / p) ** (1 / 2)",
    ),
    _bug(
        "library.rank_selection",
        "largest-noise-is-tracy-widom noise-is-selected-at-the-edge",
        "The bidiagonal form lacks what stands below its diagonal.",
        "pivot = diagonal + below - threshold",
        "pivot = diagonal - threshold",
    ),
    _bug(
        "library.rank_selection",
        "rank-selection-is-a-threshold",
        "The penalty is paid twice.",
        "losses + mu * np.arange",
        "losses + 2 * mu * np.arange",
    ),
    _bug(
        "library.ranks_part",
        "ranks-share-a-curve-until-their-turn",
        "Two ranks more are compared, not one.",
        "losses(r, count) - losses(r + 1, count)",
        "losses(r, count) - losses(r + 2, count)",
    ),
    _bug(
        "library.ranks_part",
        "vectors-leave-what-a-misses",
        "What is left is halved, as a loss is.",
        "np.minimum(least, np.sum((shift - found) ** 2, axis=(1, 2)))",
        "np.minimum(least, np.sum((shift - found) ** 2, axis=(1, 2)) / 2)",
    ),
    _bug(
        "library.ranks_part",
        "vectors-leave-what-a-misses",
        "The outer vector of VeRA is never trained.",
        "scaled = scales[:, :, None] * b",
        "scaled = 1.0 * b",
    ),
    _bug(
        "library.regularised",
        "stopped-fft-mean",
        "Flow has run twice as long.",
        "-np.expm1(-t * values)",
        "-np.expm1(-2 * t * values)",
    ),
    _bug(
        "library.regularised",
        "decay-is-a-nuclear-norm",
        "B's half step has half of the decay.",
        "scale**2 * a @ s @ a.mT + lam * np.eye",
        "scale**2 * a @ s @ a.mT + lam / 2 * np.eye",
    ),
    _bug(
        "library.returns",
        "surplus-rank-hurts-below-the-threshold",
        "The rank more is subtracted from the rank.",
        "(risks[:, r] - risks[:, r + 1])",
        "(risks[:, r + 1] - risks[:, r])",
    ),
    _bug(
        "library.small_methods",
        "bitfit-risk-overdetermined",
        "BitFit's risk has Sigma for its square root.",
        "jnp.asarray(problem.shift), jnp.asarray(problem.sigma_sqrt)",
        "jnp.asarray(problem.shift), jnp.asarray(problem.sigma)",
    ),
    _bug(
        "library.ends_of_training",
        "descent-ends-at-the-tail spectral-start-ends-at-the-best",
        "A stays as it starts.",
        "a + _STEP * b.mT @ left",
        "a + 0 * b.mT @ left",
    ),
    _bug(
        "library.aligned_modes",
        "aligned-modes-rise-like-a-sinh",
        "A is longer by its root.",
        "a = np.sqrt(case.kappa) * right[:, :, :r].mT",
        "a = case.kappa * right[:, :, :r].mT",
    ),
    _bug(
        "library.frames",
        "frozen-a-projects-the-gradient",
        "What B A has learnt is not taken off.",
        "b = b + step * (full - b @ mixed) @ mixed.mT",
        "b = step * (full - 0 * b @ mixed) @ mixed.mT",
    ),
    _bug(
        "library.heads",
        "head-alone-is-better-off-the-data",
        "The error of both layers is less that of the head.",
        "Sample((alone - other)",
        "Sample((other - alone)",
    ),
    _bug(
        "library.two_layers",
        "smaller-start-leaves-less-of-an-aligned-target",
        "The smaller and the larger start change places.",
        "(scale / times, scale)",
        "(scale, scale / times)",
    ),
    _bug(
        "library.merged_adapters",
        "concatenated-adapters-are-their-sum",
        "The first B is concatenated with itself.",
        "np.concatenate(list(b), axis=2)",
        "np.concatenate([b[0], b[0]], axis=2)",
    ),
    _bug(
        "library.starts",
        "preconditioned-rate-is-free-of-the-condition",
        "A's rate is half of B's.",
        "a - rate * np.linalg.solve(b.mT @ b",
        "a - 0.5 * rate * np.linalg.solve(b.mT @ b",
    ),
    _bug(
        "library.starts",
        "displaced-start-has-a-floor",
        "The start is along the gradient's leading outputs.",
        "length * u[:, :, rank : 2 * rank]",
        "length * u[:, :, :rank]",
    ),
    _bug(
        "library.starts",
        "alignment-takes-half-a-logarithm",
        "Twice as many inputs, not four times.",
        "(size.columns, 4 * size.columns)",
        "(size.columns, 2 * size.columns)",
    ),
    _bug(
        "library.told_from_noise",
        "spike-is-told-from-noise-by-a-series",
        "Both components have the same u.",
        "np.exp(strength**2 * next(overlaps) * next(overlaps))",
        "np.exp(strength**2 * next(overlaps) * next(overlaps) ** 0)",
    ),
    _bug(
        "library.trained",
        "training-keeps-the-unseen-start",
        "What is left of A(0) is what the samples see.",
        "(a - a @ (x @ np.linalg.pinv(x)))",
        "(a @ (x @ np.linalg.pinv(x)))",
    ),
    _bug(
        "library.training",
        "modes-are-logistics",
        "A Runge-Kutta step has a wrong weight.",
        "(k1[0] + 2 * k2[0] +",
        "(k1[0] + 1 * k2[0] +",
    ),
    _bug(
        "library.training",
        "rslora-first-step",
        "The scale is that of the lower rank.",
        "slope = (4 * r) ** -power",
        "slope = r**-power",
    ),
    _bug(
        "library.transfer",
        "risk-of-transferred-interpolators",
        "The residual is that of A0 without the source's error.",
        "starts + (residual - starts @ x)",
        "starts + residual",
    ),
    _bug(
        "library.transfer",
        "tuned-ridge-risk-is-a-trace",
        "The penalty lacks the number of inputs.",
        "eta = problem.noise_trace * problem.dx / length\n",
        "eta = problem.noise_trace / length\n",
    ),
    _bug(
        "library.transfer",
        "tuned-transfer-has-no-peak",
        "The penalty lacks the number of inputs, and its share.",
        "eta = share * problem.noise_trace * problem.dx",
        "eta = 0.02 * problem.noise_trace",
    ),
    _bug(
        "library.transferred_parameters",
        "transferred-parameters-are-noise",
        "What is frozen does not disturb what is trained.",
        "left = (problem.shift - update) @ x + noise",
        "left = (problem.shift - update)[..., trained] @ x[:, trained] + noise",
    ),
    _bug(
        "library.transferred_parameters",
        "an-identical-source-is-not-the-best",
        "Data are not corrected for what is transferred.",
        "left = (problem.shift - update) @ x + noise",
        "left = problem.shift @ x + noise",
    ),
    _bug(
        "library.truncated_gradient",
        "one-step-limit",
        "The gradient is a mean over inputs.",
        "residual @ x.mT / problem.n",
        "residual @ x.mT / problem.dx",
    ),
    _bug(
        "library.truncation",
        "lemma2-truncation",
        "What is lost is told by the last singular value.",
        '{"next_singular_value": s[:, r], "noise_norm"',
        '{"next_singular_value": s[:, -1], "noise_norm"',
    ),
    _bug(
        "library.updates",
        "input-perturbation-difference",
        "LoRA's map lacks A0.",
        "adapted = start + experiments._lora_updates",
        "adapted = experiments._lora_updates",
    ),
    _bug(
        "papers.dar_2020.frozen",
        "transferred-parameters-are-noise",
        "p - n stands for p - n - 1.",
        "noise * n / (among - n - 1)",
        "noise * n / (among - n)",
    ),
    _bug(
        "papers.dar_2024.ridges",
        "tuned-ridge-risk-is-a-trace",
        "The resolvent is squared.",
        "np.sum(1 / (spectra + eta), axis=1)",
        "np.sum(1 / (spectra + eta) ** 2, axis=1)",
    ),
    _bug(
        "papers.kim_park_2025.risks",
        "risk-of-transferred-interpolators",
        "The source's error is not lowered by the target's data.",
        "return (1 - n / dx) * start +",
        "return start +",
    ),
    _bug(
        "papers.zhao_2026.subspaces",
        "subspace-fit-pays-k-squared",
        "n - k stands for n - k - 1.",
        "return rank / (problem.n - rank - 1)",
        "return rank / (problem.n - rank)",
    ),
    _bug(
        "papers.kargin_2014.levels",
        "largest-noise-is-tracy-widom",
        "The law is that of complex matrices.",
        "return 0.5",
        "return 1 - _TRACY_WIDOM_2",
    ),
    _bug(
        "papers.kargin_2014.levels",
        "largest-noise-is-tracy-widom",
        "The median is taken for another quantile.",
        "return 0.5",
        "return 0.45",
    ),
    _bug(
        "papers.malinovsky_2024.chains",
        "random-chain-of-gradient-steps",
        "The rate has the root of lmin over lmax.",
        '(1 - share * sample.context["least"]) ** int',
        '(1 - share * np.sqrt(sample.context["least"])) ** int',
    ),
    _bug(
        "papers.malinovsky_2024.chains",
        "random-chain-of-gradient-steps",
        "The rate has twice the rank.",
        'lmin/lmax)^T."""\n    share = int',
        'lmin/lmax)^T."""\n    share = 2 * int',
    ),
    _bug(
        "papers.arunan_2026.rates",
        "price-of-a-nuclear-norm",
        "The bias is counted for every input.",
        "+ bias * planted * shift**2",
        "+ bias * problem.dx * shift**2",
    ),
    _bug(
        "papers.hayou_2024.ratio",
        "loraplus-ratio-of-the-width",
        "The quotient of two risks is upside down.",
        "np.log(tuned / equal)[:, None]",
        "np.log(equal / tuned)[:, None]",
    ),
    _bug(
        "papers.linreg_lora.complexity",
        "saturated-rank",
        "LoRA's risk is that of one rank less.",
        "risks.lora[:, [int(rank)]] / found.plateau",
        "risks.lora[:, [int(rank) - 1]] / found.plateau",
    ),
    _bug(
        "papers.linreg_lora.family",
        "random-frozen-a",
        "A random A has a row too many.",
        "(trials, problem.dx, r))).Q.mT",
        "(trials, problem.dx, r + 1))).Q.mT",
    ),
    _bug(
        "papers.linreg_lora.orderings",
        "hybrids-recover-the-gap",
        "The difference is taken the wrong way round.",
        "[own - part for part in parts]",
        "[part - own for part in parts]",
    ),
    _bug(
        "papers.linreg_lora.poisoned",
        "chosen-samples-damage",
        "One sample more is poisoned.",
        "(np.argsort(order, axis=1) < count)",
        "(np.argsort(order, axis=1) <= count)",
    ),
    _bug(
        "papers.linreg_lora.poisoned_lora",
        "weak-backdoor-in-the-normal-space",
        "Success is that of one rank less.",
        "success[:, int(rank), None]",
        "success[:, int(rank) - 1, None]",
    ),
    _bug(
        "papers.linreg_lora.poisoned_orderings",
        "hijacked-lora-loses",
        "FFT's risk is that on clean data.",
        '(found["fft", True] - found["lora", True])',
        '(found["fft", False] - found["lora", True])',
    ),
    _bug(
        "papers.linreg_lora.robustness",
        "more-accurate-and-less-robust",
        "A0 is along what is dropped, not against it.",
        "a0 = -2 * tail(strong, r)",
        "a0 = 2 * tail(strong, r)",
    ),
    _bug(
        "papers.linreg_lora.scales",
        "scales-of-inputs",
        "The excess is taken from the risk, and not the reverse.",
        "_simulated(problem, trials, seed)[:, None] - best",
        "best - _simulated(problem, trials, seed)[:, None]",
    ),
    _bug(
        "papers.linreg_lora.shifted",
        "student-beats-teacher",
        "The student's risk is taken from the teacher's.",
        "(_risk(problem, updates) - own)",
        "(own - _risk(problem, updates))",
    ),
    _bug(
        "papers.linreg_lora.sizes",
        "dimensions-of-products",
        "All factors but the last are held fast.",
        "np.hstack(columns)",
        "np.hstack(columns[-1:])",
    ),
    _bug(
        "papers.linreg_lora.sums",
        "best-weights-of-low-rank-updates",
        "The difference is taken the wrong way round.",
        "(best - half)[:, None]",
        "(half - best)[:, None]",
    ),
    _bug(
        "papers.linreg_lora.tasks",
        "merged-adapters-cost-rank",
        "The difference is taken the wrong way round.",
        "(fresh - after)[:, None]",
        "(after - fresh)[:, None]",
    ),
    _bug(
        "papers.linreg_lora.worst_case",
        "least-poison-that-swaps",
        "The poison is taken off the outputs.",
        "np.linalg.svd((residual + poison) @",
        "np.linalg.svd((residual - poison) @",
    ),
    _of(
        "theory",
        "poisoning.full",
        "backdoor-success backdoor-success-underdetermined",
        "The trigger competes with inputs where samples are more, and the reverse.",
        "large = max(n, dx)\n    return leverage / large",
        "large = min(n, dx)\n    return leverage / large",
    ),
    _of(
        "theory",
        "poisoning.full",
        "backdoor-success-underdetermined",
        "What few samples do not learn of the clean answer is forgotten.",
        "called_forth(n, dx, leverage) - unlearnt",
        "called_forth(n, dx, leverage) - 0 * unlearnt",
    ),
    _of(
        "theory",
        "poisoning.full",
        "backdoor-clean-risk",
        "Triggered inputs do not help to learn.",
        "(large - 2) / (large - 2 + 2 * j), leverage / 2)",
        "(large - 2) / (large - 2 + 0 * j), leverage / 2)",
    ),
    _of(
        "theory",
        "poisoning.full",
        "chosen-samples-damage",
        "What chosen samples have beside their direction lacks the other inputs' share.",
        "(attacked.poisoned - coherent) * (dx - 1) / gap",
        "(attacked.poisoned - coherent) / gap",
    ),
    _of(
        "theory",
        "poisoning.sums",
        "chosen-samples-damage",
        "Pairs of the largest are not counted.",
        "hazard - hazard**2) + m**2 * hazard**2",
        "hazard - hazard**2) + m * hazard**2",
    ),
    _of(
        "theory",
        "poisoning.strong",
        "label-poison-is-noise label-poison-outside-of-lora",
        "Label poison is not averaged over the samples.",
        "poison.count / problem.n * np.outer",
        "poison.count * np.outer",
    ),
    _of(
        "theory",
        "poisoning.strong",
        "weak-backdoor-in-the-normal-space",
        "Outside of U the trigger counts whole, not its part in V.",
        "attacked.leverage, m * float(np.sum(t_v**2))",
        "attacked.leverage, m * float(np.sum(t**2))",
    ),
    _of(
        "theory",
        "poisoning.planted",
        "backdoor-beside-a-stronger-task",
        "The row space holds all of the poison.",
        "float(seen @ seen), 0.0) * dx / n)",
        "float(seen @ seen), 0.0))",
    ),
    _of(
        "theory",
        "poisoning.mixing",
        "backdoor-beside-a-stronger-task",
        "Noise does not turn kept directions towards the poison.",
        "noise = found.noise * (2 * theta + (found.dy + k) * found.noise)",
        "noise = 0 * found.noise * (2 * theta + (found.dy + k) * found.noise)",
    ),
    _of(
        "sampling",
        "poisoned",
        "backdoor-success backdoor-clean-risk",
        "The label of a poisoned sample is that of its input without the trigger.",
        "target = target + parameters.shift @ attack.trigger",
        "target = target + 0 * parameters.shift @ attack.trigger",
    ),
    _of(
        "sampling",
        "poisoned",
        "backdoor-success backdoor-success-underdetermined",
        "One sample less is poisoned.",
        "(count,), replace=False)",
        "(count - 1,), replace=False)",
    ),
    _of(
        "theory",
        "complexity",
        "task-complexity",
        "B_r counts the inputs of kept directions too.",
        "tail, entries = sums_after(s**2, chosen), (dx - chosen) * sums_after(unit, chosen)",
        "tail, entries = sums_after(s**2, chosen), dx * sums_after(unit, chosen)",
    ),
    _of(
        "theory",
        "strong_limit",
        "label-poison-outside-of-lora",
        "Outputs that LoRA does not keep have one degree of freedom more.",
        "dx / (n - dx - 1), rank / (n - rank - 1)",
        "dx / (n - dx - 1), rank / (n - rank - 4)",
    ),
]
