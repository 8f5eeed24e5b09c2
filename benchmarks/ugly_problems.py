"""References in plain NumPy for 300 problems, most of them ugly: explicit draws, nothing imported from the package.

    python benchmarks/ugly_problems.py                     writes tests/ugly_problems.json, about 20 minutes of one core
    python benchmarks/ugly_problems.py --only 1:7 4:30     redraws single problems with another seed and prints them

The model: y = (A0 + Delta) x + eps, x ~ N(0, Sigma), eps ~ N(0, Sigma_eps), X and E of n samples, R = Delta X + E.

    D = R X^T (X X^T + eta)^{-1}, or R X^+ for eta = 0;   D_r = U_r U_r^T D,
    U_r: leading eigenvectors of B B^T = R X^T (X X^T + eta)^{-1} X R^T
    risk(D) = ||(D - Delta) Sigma^{1/2}||^2,   forgetting(D) = ||D||^2   (pretraining inputs of covariance I)

The 300 problems are fixed by their seeds, in five strata of 60 (`ugly_designs`); they were written down before any
result was looked at. Each line of the output: the problem, u_eff = (df1/df2)(n - df2), the number of draws, the risk
of FFT and of LoRA at some ranks and (for about half of those with a full-rank Sigma) the forgetting, as means with
standard errors.
What to trust:

    "method"    "draws": whole data sets, FFT averaged over the noise exactly; "weighted": the same, where a few
                nearly singular ones decide, these drawn more often and weighted (`tilted`); "conditional": means given
                LoRA's directions, where the variance is infinite (`conditional`)
    "stderr"    of the draws; the numbers have 7 digits, so allow 1e-6 of the value besides
    "heavy"     the tails are so heavy that a multiple of the standard error is no bound (`HEAVY_SHARE`, `LEAST_EVENTS`)
    "no_mean"   the risk has no mean, nothing is drawn and every consumer should refuse
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ugly_designs import digits, problems
from ugly_draws import Sample, conditional, whole
from ugly_laws import Law, effective_distance

OUTPUT = Path(__file__).resolve().parent.parent / "tests" / "ugly_problems.json"

#: Relative standard error to reach, seconds a problem, and share of the variance from one draw from which it is heavy.
TARGET, BENIGN_TARGET, SECONDS, HEAVY_SECONDS, HEAVY_SHARE = 0.004, 0.002, 4.0, 10.0, 0.3
LEAST_DRAWS, MOST_DRAWS, LEAST_EVENTS = 1000, 200_000, 100


def lora_ranks(law: Law) -> list[int]:
    wanted = {1, 2, 3, law.rank, law.max_rank // 2, law.max_rank - 1}
    return sorted(rank for rank in wanted if 0 < rank < law.max_rank)


def reference(problem: dict[str, Any], draws: int | None = None, seed: Any = 0, benign: bool = False,
              forgetting: bool = True, method: str | None = None) -> dict[str, Any]:  # fmt: skip
    """Means and standard errors of one problem; `draws` None: as many as a pilot asks for, within the time allowed.

    `method` "draws", "weighted" or "conditional" overrules the choice. Forgetting only for a full-rank Sigma.
    """
    law = Law(problem)
    ranks = lora_ranks(law)
    out: dict[str, Any] = {"u_eff": effective_distance(problem), "draws": 0, "method": None, "fft": None,
                           "ranks": ranks, "lora": None, "forgetting": None, "heavy": False,
                           "no_mean": law.tail_index <= 1}  # fmt: skip
    if out["no_mean"]:
        return out
    method = method or ("conditional" if law.conditional else "weighted" if law.splits else "draws")
    forgetting = forgetting and law.full and method != "conditional"

    def sample(seed: Any, count: int) -> Sample:
        rng = np.random.default_rng(seed)
        size = law.k * law.n + law.dy * (law.n + law.k) + law.k**2
        chunk = int(np.clip(500_000 // size, 8, 500))
        draw: Callable[[int], Sample] = (
            (lambda many: conditional(law, ranks, rng, many))
            if method == "conditional"
            else lambda many: whole(law, ranks, forgetting, method == "weighted", rng, many)
        )
        parts = [draw(min(chunk, count - start)) for start in range(0, count, chunk)]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    light = method == "weighted" or (method == "draws" and not law.splits and law.tail_index >= 3.5)
    end = len(ranks) + 1
    fixed = [] if method == "weighted" and law.exact_fft is None else [0, end][: 1 + forgetting]
    seeds = list(np.atleast_1d(seed))
    if draws is None:
        start = time.perf_counter()
        mean, stderr, _ = estimates(*sample([*seeds, 1], 128), light, fixed)
        each = (time.perf_counter() - start) / 128
        spread = float(np.max(np.sqrt(128) * stderr / np.where(mean > 0, mean, 1), initial=0.0))
        heavy = bool(law.splits)
        wanted = 1.2 * (spread / (BENIGN_TARGET if benign else TARGET)) ** 2
        allowed = (HEAVY_SECONDS if heavy else 2 * SECONDS if benign else SECONDS) / each
        draws = int(np.clip(min(wanted, allowed), LEAST_DRAWS, MOST_DRAWS))
    mean, stderr, share = estimates(*sample(seeds, draws), light, fixed)
    known = method != "draws" or law.tail_index > 2

    def pair(part: slice, scalar: bool = False) -> dict[str, Any]:
        means, errors = mean[part].tolist(), stderr[part].tolist() if known else [None] * len(mean[part])
        return {"mean": means[0], "stderr": errors[0]} if scalar else {"mean": means, "stderr": errors}

    rare = min((p for p, j, _ in law.splits if method == "draws" and abs(law.n - j) <= 2), default=1.0)
    out.update(draws=draws, method=method, fft=pair(slice(0, 1), True), lora=pair(slice(1, end)))
    out["heavy"] = not known or share > HEAVY_SHARE or draws * rare < LEAST_EVENTS
    if forgetting:
        out["forgetting"] = {"fft": pair(slice(end, end + 1), True), "lora": pair(slice(end + 1, None))}
    return out


def estimates(quantities: np.ndarray, controls: np.ndarray, light: bool, fixed: list[int]) -> tuple[Any, Any, float]:
    """Means, standard errors, and the largest share that one draw has in a variance.

    With `light` tails all but the `fixed` columns are regressed on the control variates (among them FFT's exact mean).
    """
    values = quantities.copy()
    if light:
        controls = controls[:, controls.std(axis=0) > 0] if len(controls) else controls
        controls = controls / controls.std(axis=0)
        slope = np.linalg.lstsq(controls - controls.mean(axis=0), values - values.mean(axis=0), rcond=1e-8)[0]
        slope[:, fixed] = 0
        values = values - controls @ slope
    mean = values.mean(axis=0)
    squared = (values - mean) ** 2
    total = squared.sum(axis=0)
    stderr = np.sqrt(total / (len(values) - 1) / len(values))
    felt = stderr > 1e-7 * abs(mean)
    return mean, stderr, float(np.max(squared.max(axis=0)[felt] / total[felt], initial=0.0))


# -- the file ---------------------------------------------------------------------------------------------------------


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return digits(value) if isinstance(value, float) else value


def lines(chosen: list[dict[str, Any]], seed: int, draws: int | None) -> Iterator[dict[str, Any]]:
    """The references of `chosen`, one by one; forgetting for every other problem."""
    for entry in chosen:
        stratum, index = entry["stratum"], entry["index"]
        found = reference(entry["problem"], draws, [seed, stratum, index], stratum == 5, index % 2 == index // 8 % 2)
        yield {**entry, **rounded(found)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="STRATUM:INDEX", help="redraw these and print them")
    parser.add_argument("--seed", type=int, default=None, help="0 for the file, 1 with --only")
    parser.add_argument("--draws", type=int, default=None, help="draws a problem, instead of what a pilot asks for")
    options = parser.parse_args()
    every = problems()
    if options.only:
        wanted = [tuple(map(int, name.split(":"))) for name in options.only]
        chosen = [entry for entry in every if (entry["stratum"], entry["index"]) in wanted]
        for line in lines(chosen, 1 if options.seed is None else options.seed, options.draws):
            print(json.dumps(line, separators=(",", ":")))
        return
    start, text = time.perf_counter(), []
    for number, line in enumerate(lines(every, options.seed or 0, options.draws), 1):
        text.append(json.dumps(line, separators=(",", ":")) + "\n")
        if number % 10 == 0:
            spent = time.perf_counter() - start
            print(f"{number} of {len(every)}, {spent:.0f} s, about {spent / number * (len(every) - number):.0f} s left",
                  flush=True)  # fmt: skip
    OUTPUT.write_text("".join(text))


if __name__ == "__main__":
    main()
