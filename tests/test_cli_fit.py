"""`linreg-lora fit`: from files to a table, JSON, a picture and an adapter."""

import json

import numpy as np
import pandas
import pytest
from safetensors.numpy import load_file, save_file

import linreg_lora as ll

NAMES = [*(f"x{i}" for i in range(5)), *(f"y{i}" for i in range(3))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """old.csv, new.csv with a shift of rank one, base.csv, data.npz and base.safetensors of the same."""
    where, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    known = rng.standard_normal((3, 5))
    shifted = known + np.outer(rng.standard_normal(3), rng.standard_normal(5))
    for name, n, true in (("old", 80, known), ("new", 40, shifted)):
        x = rng.standard_normal((n, 5))
        y = x @ true.T + 0.5 * rng.standard_normal((n, 3))
        frame = pandas.DataFrame(np.hstack([x, y]), columns=NAMES)
        frame.to_csv(where / f"{name}.csv", index=False)
    pandas.DataFrame(known, columns=NAMES[:5]).to_csv(where / "base.csv", index=False)
    np.savetxt(where / "bare.csv", known, delimiter=",")
    np.savez(where / "data.npz", X=x, Y=y, A0=known)
    save_file(
        {"layer.weight": known.astype(np.float32), "other": known[:1].astype(np.float32)}, where / "b.safetensors"
    )
    return where


def fitted(run, folder, *words):
    code, out, err = run("fit", *words, "--format=json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_every_kind_of_file_says_the_same(run, folder):
    """Two csv files, a csv with a matrix, npz, safetensors (in single precision)."""
    table = ["--y-columns=y*"]
    found = [
        fitted(run, folder, f"{folder}/new.csv", f"--base={folder}/base.csv", *table),
        fitted(run, folder, f"{folder}/new.csv", f"--base={folder}/bare.csv", "--x-columns=x0:x4", *table),
        fitted(run, folder, f"{folder}/data.npz", f"--base={folder}/data.npz", "--key=A0"),
        fitted(run, folder, f"{folder}/new.csv", f"--base={folder}/b.safetensors", "--key=layer.weight", *table),
    ]
    for other in found[1:]:
        np.testing.assert_allclose(other["leave_one_out"]["error"], found[0]["leave_one_out"]["error"], rtol=1e-5)
    assert found[0]["rank"] == 1
    assert found[0]["verdict"].startswith("LoRA of rank 1")
    low, high = found[0]["test_error"]["interval"]
    assert low < high
    near = fitted(run, folder, f"{folder}/new.csv", f"--base-data={folder}/old.csv", *table)
    assert near["rank"] == 1


def test_the_table_has_the_verdict_and_the_ridge(run, folder):
    words = [f"{folder}/new.csv", f"--base={folder}/base.csv", "--y-columns=y*", "--ridge=0"]
    code, out, err = run("fit", *words)
    assert (code, err) == (0, "")
    json_ = fitted(run, folder, *words)
    for part in ("LoRA of rank 1", "90 % interval", "P(rank 1 has", "Full fine-tuning with its best ridge", "3 (FFT)"):
        assert part in out
    assert f"{json_['test_error']['estimate']:.4g}" in out
    complexity = json_["complexity"]
    assert complexity["rank"] == 1
    assert complexity["interval"][0] < complexity["estimate"] < 1
    named = "Task complexity at rank 1, what it drops of signal over what it drops of noise"
    assert f"{named}: {complexity['estimate']:.5g}" in out


@pytest.mark.parametrize("intercept", [False, True])
def test_the_adapter_predicts_the_same(run, folder, tmp_path, intercept):
    """Read back by safetensors alone: base + alpha / r (B A x + bias). Single precision rounds each number by 2^-24 of
    it at most, so a product by 2^-23, to first order."""
    words = [f"{folder}/data.npz", f"--base={folder}/data.npz", "--key=A0", "--ridge=0"]
    words += ["--module=block.score"] if intercept else ["--no-intercept"]
    module = "block.score" if intercept else "linear"
    code, _, err = run("fit", *words, f"--save={tmp_path}")
    assert code == 0
    names = [line.split("/")[-1] for line in err.splitlines()[:2]]
    assert names == ["adapter_model.safetensors", "adapter_config.json"]
    assert ("lora_B" in err, "0.14" in err) == (intercept, intercept)
    weights = load_file(tmp_path / names[0])
    configuration = json.loads((tmp_path / names[1]).read_text())
    assert configuration.get("lora_bias", False) is intercept
    assert configuration["target_modules"] == [module]
    assert len(weights) == (3 if intercept else 2)
    a, b = (weights[f"base_model.model.{module}.lora_{side}.weight"].astype(float) for side in "AB")
    offset = weights.get(f"base_model.model.{module}.lora_B.bias", np.zeros(3)).astype(float)
    assert configuration["r"] == configuration["lora_alpha"] == a.shape[0] == 1
    with np.load(folder / "data.npz") as given:
        x, y, known = given["X"], given["Y"], given["A0"]
    direct = ll.LoRARegressor(base=known, ridge=0.0, fit_intercept=intercept).fit(x, y)
    off = np.abs(x @ (known + b @ a).T + offset - direct.predict(x))
    assert np.all(off <= 1.01 * 2.0**-23 * (np.abs(x) @ np.abs(b @ a).T + np.abs(offset)) + 1e-13)


@pytest.mark.parametrize(("inputs", "outputs"), [(1e-29, 1e29), (1e29, 1e-29)])
def test_an_adapter_beyond_single_precision_is_refused(run, folder, tmp_path, inputs, outputs):
    """An update of about 1e58 would be stored as inf, one of 1e-58 as 0."""
    with np.load(folder / "data.npz") as given:
        np.savez(tmp_path / "far.npz", X=inputs * given["X"], Y=outputs * given["Y"])
    code, out, err = run("fit", f"{tmp_path}/far.npz", "--rank=2", "--ridge=0", f"--save={tmp_path / 'adapter'}")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "save: expected an update that single precision holds" in err
    assert not (tmp_path / "adapter").exists()


def test_a_picture(run, folder, tmp_path):
    picture = tmp_path / "error.png"
    words = [f"{folder}/new.csv", f"--base={folder}/base.csv", "--y-columns=y*", f"--picture={picture}"]
    assert run("fit", *words)[0] == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["new.csv"], ["y-columns", "x0, x1"]),
        (["new.csv", "--y-columns=z"], ["y-columns", "z"]),
        (["new.csv", "--y-columns=y*", "--x-columns=y0"], ["x-columns", "y0"]),
        (["new.csv", "--y-columns=y*", "--rank=best"], ["rank: expected auto or a number, received best"]),
        (["new.csv", "--y-columns=y*", "--ridge=-1"], ["ridge"]),
        (["new.csv", "--y-columns=y*", "--level=2"], ["level"]),
        (["new.csv", "--y-columns=y*", "--module=layer"], ["module: expected --save"]),
        (["new.csv", "--y-columns=y*", "--ridge=0", "--module=a..b", "--save=a"], ["module: expected the", "a..b"]),
        (["new.csv", "--y-columns=y*", "--ridge=0", "--module=", "--save=a"], ["module: expected the", "nothing"]),
        (["new.csv", "--y-columns=y*", "--base=none.csv"], ["none.csv"]),
        (["new.csv", "--y-columns=y*", "--base=b.safetensors"], ["layer.weight, other"]),
        (["new.csv", "--y-columns=y*", "--base=b.safetensors", "--key=other"], ["3 outputs x 5 inputs"]),
        (["new.csv", "--y-columns=y*", "--base=base.csv", "--base-data=old.csv"], ["both"]),
        (["data.npz", "--y-columns=Z"], ["X, Y, A0"]),
        (["none.npz"], ["a file"]),
        (["none.pickle"], [".csv"]),
    ],
)
def test_bad_lines(run, folder, words, parts, monkeypatch):
    monkeypatch.chdir(folder)
    code, out, err = run("fit", *words)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    for part in parts:
        assert part in err


def test_nothing_to_save_of_rank_zero(run, folder, tmp_path):
    words = [f"{folder}/new.csv", f"--base={folder}/base.csv", "--y-columns=y*", "--rank=0", f"--save={tmp_path / 'a'}"]
    code, _, err = run("fit", *words)
    assert code == 2
    assert "rank 0" in err
    assert not (tmp_path / "a").exists()
