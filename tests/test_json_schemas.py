"""Every `--format json` is what docs/schemas says: programs may rely on its keys."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from safetensors.numpy import save_file

SCHEMAS = Path(__file__).parents[1] / "docs" / "schemas"
SIZES = ["--n=15", "--dx=8", "--dy=5", "--spectrum=3,2,1"]
COMMANDS = {
    "risk": [["risk", *SIZES, "--noise-std=0.5", "--trials=16", "--ranks=0-2,5", "--forgetting"],
             ["risk", *SIZES, "--noise-std=1", "--method=theory", "--input-spectrum=2,2,2,2,1,1,1,1"],
             ["risk", "--n=8", *SIZES[1:], "--noise-std=1", "--method=monte-carlo", "--trials=4"],
             ["risk", *SIZES, "--noise-std=1", "--ridge=auto", "--trials=4", "--ranks=0-2"],
             ["risk", *SIZES[:3], "--spectrum=", "--noise-std=1", "--ridge=auto", "--method=theory"]],
    "compare": [["compare", *SIZES, "--noise-std=1", "--adapt=bitfit,ia3,frozen-a:2,lora:9,fft", "--trials=16"],
                ["compare", *SIZES, "--noise-std=1", "--adapt=ia3,lora:1", "--method=theory", "--pretrained-seed=3"],
                ["compare", "--n=8", *SIZES[1:], "--noise-std=1", "--adapt=fft", "--method=monte-carlo"],
                ["compare", *SIZES, "--noise-std=1", "--adapt=bitfit,ia3,lora:2,lora:9,fft", "--ridge=auto"],
                ["compare", *SIZES, "--noise-std=1", "--budget=30", "--trials=8", "--spread"],
                ["compare", "--n=10", *SIZES[1:], "--noise-std=1", "--adapt=fft,ia3", "--trials=8", "--spread"],
                ["compare", "--n=15", "--noise-std=1", "--matrices=task.npz", "--adapt=ia3-in,fft", "--trials=8"]],
    "compose": [["compose", *SIZES[:3], "--noise-std=1", "--task=2", "--task=1,1", "--adapt=lora:1,fft", "--trials=8"],
                ["compose", *SIZES[:3], "--noise-std=1", "--task=2", "--task=1,1", "--adapt=lora:1", "--how=sequence",
                 "--trials=8"],
                ["compose", *SIZES[:3], "--noise-std=1", "--task=2", "--task=1", "--adapt=fft", "--how=sequence",
                 "--method=theory"]],
    "attack": [["attack", *SIZES, "--noise-std=1", "--count=3", "--target=outside:2", "--trigger=1:1", "--trials=8",
                "--ranks=1,5", "--perturb=0.5"],
               ["attack", *SIZES, "--noise-std=1", "--count=3", "--target=0,1", "--choose=2", "--method=theory",
                "--ranks=0-3"],
               ["attack", *SIZES, "--noise-std=1", "--count=3", "--target=0,1", "--method=theory", "--ridge=1"],
               ["attack", "--n=8", *SIZES[1:], "--noise-std=1", "--count=3", "--target=1:2", "--trigger=2:1"]],
    "samples": [["samples", *SIZES[1:], "--noise-std=0.1", "--risk=9", "--adapt=fft,lora:1"]],
    "train": [["train", *SIZES, "--noise-std=1", "--steps=5", "--trials=2"],
              ["train", "--n=6", *SIZES[1:], "--noise-std=1", "--steps=4", "--trials=2", "--learning-rate=1e9"]],
    "crossover": [["crossover", *SIZES, "--noise-std=1", "--rank=2", "--over=noise_std", "--low=0.1", "--high=3"]],
    "check": [["check", "--only=prop3-fft-overdetermined"], ["check", "--only=eq148-square-as-printed"],
              ["check", "--all", "--only=lemma2-square"]],
    "prove": [["prove", "lemma-2-square"], ["prove", "--list"]],
    "claims": [["claims"], ["claims", "--all"]],
    "papers": [["papers", "--paper=zeng-2024"], ["papers", "--paper=zeng-2024", "--checked=check.json"]],
    "vocabulary": [["claims", "vocabulary"]],
    "fit": [["fit", "data.csv", "--y-columns=y*"], ["fit", "data.csv", "--y-columns=y0", "--ridge=1", "--groups=day"],
            ["fit", "data.csv", "--x-columns=x*", "--y-columns=y*", "--rank=0"]],
    "weights": [["weights", "old.safetensors", "new.safetensors"],
                ["weights", "old.safetensors", "new.safetensors", "--activations=inputs.npz", "--noise-std=1",
                 "--budget=20", "--weigh=share", "--ranks=0-2"]],
}  # fmt: skip


@pytest.mark.parametrize(("name", "words"), [(name, words) for name, each in COMMANDS.items() for words in each])
def test_output_is_what_its_schema_says(run, name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers = np.random.default_rng(0).standard_normal((12, 9))
    days = [[f"day {i // 3}", *row] for i, row in enumerate(numbers.tolist())]
    names = ["day", *(f"x{i}" for i in range(6)), "y0", "y1", "y2"]
    if name == "fit" and "--groups=day" not in words:
        days, names = [row[1:] for row in days], names[1:]
    Path("data.csv").write_text("\n".join(",".join(map(str, row)) for row in [names, *days]))
    save_file({"q.weight": np.ones((3, 4)), "raw": np.ones((3, 4)), "q.bias": np.ones(3)}, "old.safetensors")
    save_file({"q.weight": numbers[:3, :4], "raw": np.ones((3, 4)), "q.bias": np.ones(3)}, "new.safetensors")
    np.savez("task.npz", shift=numbers[:3, :4], A0=numbers[3:6, :4], mean=numbers[0, :4])
    Path("check.json").write_text(json.dumps({"claims": [{"id": "layers-reach-the-target", "verdict": "holds"}]}))
    np.savez("inputs.npz", q=numbers[:, :4], raw=numbers[:, :4])
    code, out, err = run(*words, "--format=json")
    assert (code, err) == (0, "")
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON")), schema)


def test_every_schema_is_tested_and_no_key_goes_unseen():
    assert {path.stem for path in SCHEMAS.glob("*.json")} == set(COMMANDS)
    schema = json.loads((SCHEMAS / "risk.json").read_text())
    with pytest.raises(jsonschema.ValidationError, match="colour"):
        jsonschema.validate({"problem": {}, "ranks": [], "fft": {}, "colour": 1}, schema)
