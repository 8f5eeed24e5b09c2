"""What flags on poisoned data are worth: small random problems, formulas against simulation, flagged and not.

    python benchmarks/poisoning_flags.py [--problems 150] [--first 1000] [--draws 1500]

Problem k is drawn from seed `first` + k: dx and dy in 12..40, of every third problem in 6..15, n on both sides of dx
with |n - dx| > 3, one to three task directions and a backdoor, each of a squared strength even in log from below the
noise's edge to some hundred times it, two of three backdoors orthogonal to the task. Of five problems one keeps that
backdoor, one has a target and a trigger along directions of the task, one a trigger along the task and a target outside
of it, one the target alone on samples chosen along the trigger's direction, which is one of the task's in half of them,
and one the target alone on random samples; in five of twenty-five noise is eight times as strong beside the same task.
Draws are by plain NumPy. A risk is off where it misses the
simulated one by more than 5 %, a success by more than a tenth of FFT's, a verdict where the simulated success, over
FFT's, is beyond its limits, each by three standard errors of the draws at least; without trigger the risk alone is
judged. The rules for flags were set on backdoors of the first kind, of seeds 0 to 259. The table is
`results/poisoning_flags.md`.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import linreg_lora as ll
from linreg_lora.theory import Poison

RESULTS = Path(__file__).parent / "results" / "poisoning_flags.md"
_CHUNK, _CERTAIN = 400, 3.0
_RISK, _SUCCESS = 0.05, 0.1
#: Simulated shares of FFT's success beyond which a verdict is wrong.
_LIMITS = {"immune": (-0.2, 0.2), "partly absorbed": (0.05, 0.95), "equal": (0.65, 1.35), "hijacked": (0.65, 1.35)}


#: Kinds with a trigger, and all of them; of problem k: KINDS[k % 5].
TRIGGERED = ("backdoor", "along the task", "trigger along the task")
KINDS = (*TRIGGERED, "chosen samples", "labels")


def drawn(seed: int) -> tuple[ll.Problem, Poison]:
    """A problem and its poison."""
    g = np.random.default_rng([41, seed])
    low, high = (6, 16) if seed % 3 == 0 else (12, 41)
    n = dx = dy = 0
    while abs(n - dx) <= 3:
        dx, dy = (int(size) for size in g.integers(low, high, 2))
        n = int(dx + g.integers(4, 5 * dx)) if g.random() < 0.55 else int(g.integers(4, max(5, dx - 3)))
    many = min(int(g.integers(1, 4)), min(n, dx, dy) - 1)
    edge = np.sqrt(dy * min(n, dx))
    spectrum = np.sort(np.sqrt(edge / n * 10 ** g.uniform(-0.3, 2.2, many)))[::-1]
    count = int(g.integers(1, max(2, n // 4) + 1))
    long = float(10 ** g.uniform(-0.5, 1.2))
    leverage = count * long**2
    share = (dx + leverage) / (n + leverage) if n > dx else 1.0
    length = float(np.sqrt(edge * 10 ** g.uniform(-1.2, 2.2) / (count * share)))
    p, t = np.eye(dy)[-1], np.eye(dx)[-1]
    if g.integers(3) == 2:
        p, t = g.standard_normal(dy), g.standard_normal(dx)
    kind = KINDS[seed % len(KINDS)]
    if kind == "along the task":
        p, t = np.eye(dy)[g.integers(many)], g.choice([-1, 1]) * np.eye(dx)[g.integers(many)]
    if kind == "trigger along the task":
        p, t = np.eye(dy)[-1], g.choice([-1, 1]) * np.eye(dx)[g.integers(many)]
    if kind == "chosen samples" and g.random() < 0.5:
        t = np.eye(dx)[g.integers(many)]
    p, t = length * p / np.linalg.norm(p), long * t / np.linalg.norm(t)
    noise = 8.0 if seed // 5 % 5 == 0 else 1.0
    at = ll.Problem(n=n, dx=dx, dy=dy, spectrum=tuple(spectrum.tolist()), noise_std=noise)
    if kind == "labels":
        return at, Poison(count=count, target=p)
    if kind == "chosen samples":
        return at, Poison(count=count, target=p, along=t)
    return at, Poison(count=count, target=p, trigger=t)


def simulated(at: ll.Problem, poison: Poison, draws: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Means and standard errors of risk and of success at ranks 1..R, by the definitions."""
    g, parts = np.random.default_rng(seed), []
    shift, p = at.shift, poison.target
    t = np.zeros(at.dx) if poison.trigger is None else poison.trigger
    for first in range(0, draws, _CHUNK):
        size = min(_CHUNK, draws - first)
        x = g.standard_normal((size, at.dx, at.n))
        if poison.along is not None:
            order = np.argsort(-(poison.along @ x), axis=1)
            x = np.take_along_axis(x, order[:, None, :], axis=2)
        x[:, :, : poison.count] += t[:, None]
        r = shift @ x + at.noise_std * g.standard_normal((size, at.dy, at.n))
        r[:, :, : poison.count] += p[:, None]
        if at.n > at.dx:
            root = np.linalg.cholesky(x @ x.mT)
            fitted = np.linalg.solve(root, x @ r.mT).mT
            update = np.linalg.solve(root.mT, fitted.mT).mT
        else:
            fitted, update = r, r @ np.linalg.solve(x.mT @ x, x.mT)
        left = np.linalg.svd(fitted, full_matrices=False)[0][:, :, : at.max_rank]
        moved, planted = left.mT @ update, left.mT @ shift
        risk = at.pretrained_risk + np.cumsum(np.sum(moved * (moved - 2 * planted), axis=2), axis=1)
        parts.append((risk, (np.cumsum((p @ left) * (moved @ t), axis=1) - p @ shift @ t) / (p @ p)))
    both = (np.concatenate(one) for one in zip(*parts, strict=True))
    return [(one.mean(axis=0), one.std(axis=0) / np.sqrt(draws)) for one in both]


def judged(seed: int, draws: int) -> list[tuple[bool, bool, bool, bool, bool]]:
    """At ranks 1..R - 1 whether the number is flagged, risk and success are off, the verdict is flagged, and wrong."""
    at, poison = drawn(seed)
    found, verdicts = ll.theory.poisoned_risk(at, poison), ll.theory.poison_verdicts(at, poison)
    (risk, risk_error), (success, error) = simulated(at, poison, draws, seed)
    rows = []
    for rank in range(1, at.max_rank):
        i, verdict = rank - 1, verdicts[rank - 1]
        beyond = abs(found.risk[rank] - risk[i]) > max(_RISK * risk[i], _CERTAIN * risk_error[i])
        if poison.trigger is None:
            rows.append((bool(found.flagged[rank]), bool(beyond), False, True, False))
            continue
        missed = abs(found.success[rank] - success[i]) > max(_SUCCESS * abs(found.fft_success), _CERTAIN * error[i])
        share, spread = success[i] / success[-1], _CERTAIN * error[i] / abs(success[-1])
        low, high = _LIMITS[str(verdict.outcome)]
        wrong = not low - spread <= share <= high + spread
        rows.append((bool(found.flagged[rank]), bool(beyond), bool(missed), verdict.flagged, bool(wrong)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=150)
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=1500)
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.problems)
    problems = {seed: np.array(judged(seed, asked.draws)) for seed in seeds}
    ranks = sum(len(one) for one in problems.values())
    lines = [
        "# Flags on poisoned data", "",
        f"Written by `python benchmarks/poisoning_flags.py --problems {asked.problems} --first {asked.first} --draws "
        f"{asked.draws}`: {ranks} ranks of small random problems. Off: the risk by more than 5 %, or the success by "
        "more than a tenth of FFT's, and by three standard errors; without trigger the risk alone.", "",
        "| poison | numbers | ranks | risk off | success off | either |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    judgements = []
    for k, kind in enumerate(KINDS):
        of_kind = [rows for seed, rows in problems.items() if seed % len(KINDS) == k]
        if not of_kind:
            continue
        flagged, beyond, missed, doubted, wrong = np.concatenate(of_kind).T
        for name, some in (("flagged", flagged), ("not flagged", ~flagged)):
            counts = [some.sum(), (beyond & some).sum(), (missed & some).sum(), ((beyond | missed) & some).sum()]
            lines.append(f"| {kind} | {name} | {' | '.join(map(str, counts))} |")
        if kind in TRIGGERED:
            for name, some in (("flagged", doubted), ("not flagged", ~doubted)):
                judgements.append(f"| {kind} | {name} | {some.sum()} | {(wrong & some).sum()} |")
    lines += ["", "| poison | verdicts | ranks | wrong |", "|---|---|---|---|", *judgements]
    with_flags = sum(bool(one[:, 0].any()) for one in problems.values())
    lines += ["", f"A rank is flagged in {with_flags} of {len(problems)} problems."]
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
