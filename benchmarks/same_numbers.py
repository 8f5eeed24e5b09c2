"""Does a change of structure change a number? Runs two checkouts and compares what they say, to the bit.

    python benchmarks/same_numbers.py OLD NEW [--keep FOLDER]

OLD and NEW are checkouts (`git worktree add ../old 15613fb` makes one) or folders that an earlier run kept. Each
runs, in processes of its own: all claims (`check --format json`), the data of all figures, `risk`, `crossover` and
`prove` as JSON, and a sweep to NetCDF, all at seed 0. Provenance is left out: code hashes, versions, captions, times.

Keys, variables and attributes that only NEW has are listed and are not differences: an interface may grow. Exit code 1
where a number, a verdict or a text differs or is gone.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

#: Names of what says how, not what: never compared.
PROVENANCE = {
    "code_sha256", "data_sha256", "package_sha256", "pictures", "versions", "source", "caption", "revision", "seconds",
    "history",
}  # fmt: skip
#: File -> arguments of the command line whose output it keeps.
COMMANDS = {
    "check.json": "check --format json",
    "prove.json": "prove --format json",
    "claims.json": "claims --format json",
    "risk-over.json": "risk --n 60 --dx 20 --dy 12 --spectrum 3,2,1 --noise-std 0.5 --format json",
    "risk-under.json": "risk --n 15 --dx 40 --dy 10 --spectrum 4,2 --noise-std 1 --forgetting --format json",
    "risk-ridge.json": (
        "risk --n 30 --dx 8 --dy 5 --spectrum 3,1,0.5 --noise-std 1 --ridge 4 --input-spectrum 1,2,1,1,3,1,1,1 "
        "--noise-spectrum 1,1,2,1,1 --format json"
    ),
    "crossover.json": (
        "crossover --n 60 --dx 20 --dy 12 --spectrum 3,2,1 --noise-std 1 --rank 2 --over noise_std --low 0.1 --high 3 "
        "--format json"
    ),
    "crossover-n.json": (
        "crossover --n 60 --dx 20 --dy 12 --spectrum 3,2,1 --noise-std 1 --rank 3 --over n --low 22 --high 400 "
        "--format json"
    ),
    "sweep.txt": "sweep sweep.yaml --out sweep.nc --workers 1",
    "figures.txt": "figures --out . --fresh",
}
SWEEP = """\
problem: {dx: 10, dy: 6, noise_std: 1.0, spectrum: {family: exponential, rate: 0.5, scale: 3.0}}
axes: {n: [6, 20, 50], spectrum.rate: [0.2, 0.7]}
ranks: [0, 1, 3]
trials: 200
"""


def main() -> None:
    """Run or read both, compare, and say what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--keep", type=Path, help="folder to keep what both said in, as old/ and new/")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        keep = chosen.keep or Path(scratch)
        old, new = (said(path, keep / name) for path, name in ((chosen.old, "old"), (chosen.new, "new")))
        differences, added = compare(old, new)
    for line in added:
        print(f"only in the new one: {line}")
    for line in differences:
        print(f"DIFFERS: {line}")
    print(f"{len(differences)} differences, {len(added)} additions")
    sys.exit(1 if differences else 0)


def said(path: Path, out: Path, commands: Mapping[str, str] = COMMANDS, **variables: str) -> Path:
    """The folder of what a checkout says, with these environment variables: made now, or `path` itself where it is one
    already."""
    if not (path / "linreg_lora").is_dir():
        return path
    out.mkdir(parents=True, exist_ok=True)
    (out / "sweep.yaml").write_text(SWEEP)
    environment = os.environ | {"PYTHONPATH": str(path.resolve())} | variables
    for name, command in commands.items():
        print(f"{path}: {command}", file=sys.stderr)
        code = "from linreg_lora.__main__ import run; run()"
        words = [sys.executable, "-c", code, *command.split()]
        done = subprocess.run(words, cwd=out, env=environment, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{path}: {command}: exit code {done.returncode}: {done.stderr}")
        (out / name).write_text(f"exit code {done.returncode}\n" if name.endswith(".txt") else done.stdout)
    return out


def compare(old: Path, new: Path) -> tuple[list[str], list[str]]:
    """What differs or is gone, and what only the new one has."""
    differences: list[str] = []
    added: list[str] = []
    for path in sorted(old.iterdir()):
        if path.suffix in (".nc", ".json", ".txt"):
            if not (new / path.name).exists():
                differences.append(f"{path.name} is gone")
                continue
            one, other = (content(folder / path.name) for folder in (old, new))
            _walk(one, other, path.name, differences, added)
    return differences, added


def content(path: Path) -> object:
    if path.suffix == ".json":
        return json.loads(path.read_text())
    if path.suffix == ".txt":
        return path.read_text()
    import xarray as xr

    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        return {
            "attributes": {name: _plain(value) for name, value in dataset.attrs.items()},
            **{
                str(name): {
                    "values": variable.values.astype(str).tobytes()
                    if variable.dtype.kind in "OSU"
                    else np.ascontiguousarray(variable.values).tobytes(),
                    "dimensions": list(variable.dims),
                    "dtype": str(variable.dtype),
                    "attributes": {key: _plain(value) for key, value in variable.attrs.items()},
                }
                for name, variable in dataset.variables.items()
            },
        }


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _walk(old: object, new: object, where: str, differences: list[str], added: list[str]) -> None:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() - PROVENANCE:
            if key in new:
                _walk(old[key], new[key], f"{where}: {key}", differences, added)
            else:
                differences.append(f"{where}: {key} is gone")
        added += [f"{where}: {key}" for key in sorted(new.keys() - old.keys() - PROVENANCE)]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (one, other) in enumerate(zip(old, new, strict=True)):
            _walk(one, other, f"{where}[{place}]", differences, added)
    elif old != new and not (old != old and new != new):
        differences.append(f"{where}: {_brief(old)} -> {_brief(new)}")


def _brief(value: object) -> str:
    text = "bytes" if isinstance(value, bytes) else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


if __name__ == "__main__":
    main()
