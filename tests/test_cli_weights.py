"""`linreg-lora weights`: from checkpoints to a table, JSON and PEFT's ranks, tensor by tensor."""

import json
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import linreg_lora as ll

RANKS = {"layers.0.up": 2, "layers.0.down": 1, "layers.1.up": 3, "layers.1.down": 4}


def contents(rng, kind=np.float32):
    """Weights of two layers before, and after an update of these ranks."""
    before, after = {}, {}
    for module, rank in RANKS.items():
        dy, dx = (24, 16) if module.endswith("up") else (16, 24)
        weight = rng.standard_normal((dy, dx)).astype(kind)
        shift = 2 * rng.standard_normal((dy, rank)) @ rng.standard_normal((rank, dx))
        before[f"{module}.weight"] = weight
        after[f"{module}.weight"] = (weight.astype(float) + shift).astype(kind)
    return before, after


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """old and new in one file each, in shards with an index, and in a folder; with inputs of all layers."""
    before, after = contents(np.random.default_rng(0))
    others = {"norm.weight": np.ones(16, np.float32), "steps": np.arange(4), "frozen.weight": np.eye(5)}
    for name, content in (("old", before | others), ("new", after | others)):
        save_file(content, tmp_path / f"{name}.safetensors")
        (tmp_path / name).mkdir()
        parts = dict(list(content.items())[::2]), dict(list(content.items())[1::2])
        for i, part in enumerate(parts):
            save_file(part, tmp_path / name / f"model-{i}.safetensors")
        index = {"weight_map": {key: f"model-{i}.safetensors" for i, part in enumerate(parts) for key in part}}
        (tmp_path / name / "model.safetensors.index.json").write_text(json.dumps(index))
    rng = np.random.default_rng(1)
    inputs = {module: rng.standard_normal((100, 16 if module.endswith("up") else 24)) for module in RANKS}
    np.savez(tmp_path / "inputs.npz", **inputs)
    save_file({k: v.astype(np.float32) for k, v in inputs.items()}, tmp_path / "inputs.safetensors")
    np.savez(tmp_path / "moments.npz", **{module: x.T @ x / 100 for module, x in inputs.items()})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compared(run, *words):
    code, out, err = run("weights", *words, "--format=json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_one_file_shards_and_folders_say_the_same(run, folder):
    one = compared(run, "old.safetensors", "new.safetensors")
    found = {tensor["module"]: tensor["rank"] for tensor in one["tensors"]}
    assert found == RANKS | {"frozen": 0}
    assert one["peft"]["rank_pattern"] == RANKS
    assert sorted(one["peft"]["target_modules"]) == sorted(RANKS)
    index = "model.safetensors.index.json"
    for old, new in (("old", "new"), (f"old/{index}", f"new/{index}"), ("old.safetensors", "new")):
        other = compared(run, old, new)
        by_name = {tensor["name"]: tensor for tensor in other["tensors"]}
        assert by_name == {tensor["name"]: tensor for tensor in one["tensors"]}
        assert other["peft"] == one["peft"]
    for name in ("old", "new"):
        (folder / name / index).unlink()
    assert compared(run, "old", "new")["peft"] == one["peft"]


def test_rows_and_moments_of_inputs(run, folder):
    by_file = {
        name: compared(run, "old.safetensors", "new.safetensors", f"--{option}={name}")["tensors"]
        for option, name in (
            ("activations", "inputs.npz"), ("activations", "inputs.safetensors"), ("moments", "moments.npz"),
        )
    }  # fmt: skip
    for tensors in by_file.values():
        for tensor, first in zip(tensors, by_file["inputs.npz"], strict=True):
            assert tensor["metric"] == ("plain" if tensor["module"] == "frozen" else "inputs")
            assert tensor["rank"] == first["rank"]
            np.testing.assert_allclose(tensor["energy"], first["energy"], rtol=1e-5)
    direct = ll.checkpoints.compare_checkpoints(
        folder / "old.safetensors", folder / "new.safetensors", activations=folder / "inputs.npz"
    )
    tensor = next(t for t in by_file["inputs.npz"] if t["module"] == "layers.1.up")
    assert tensor["energy"] == direct.updates["layers.1.up.weight"].energy
    assert tensor["energy"] != tensor["rounding"]["share"]


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_kinds_of_numbers(run, tmp_path, kind):
    """In few bits the update has rounding beside its ranks: directions above it are the ranks."""
    before, after = contents(np.random.default_rng(2), kind)
    save_file(before, tmp_path / "old.safetensors")
    save_file(after, tmp_path / "new.safetensors")
    found = compared(run, str(tmp_path / "old.safetensors"), str(tmp_path / "new.safetensors"))
    assert {t["module"]: min(t["rounding"]["rank"], t["numerical_rank"]) for t in found["tensors"]} == RANKS
    larger = compared(run, str(tmp_path / "old.safetensors"), str(tmp_path / "new.safetensors"), "--budget=10000")
    assert all(t["budget_rank"] <= t["rounding"]["rank"] for t in larger["tensors"])
    mixed = {name: array.astype(np.float64) for name, array in before.items()}
    save_file(mixed, tmp_path / "wide.safetensors")
    other = compared(run, str(tmp_path / "wide.safetensors"), str(tmp_path / "new.safetensors"))
    assert [t["energy"] for t in other["tensors"]] == [t["energy"] for t in found["tensors"]]
    assert other["tensors"][0]["kinds"][0] == "F64"


def test_what_is_not_compared_is_said(run, folder):
    rng = np.random.default_rng(3)
    old = {
        "conv.weight": rng.standard_normal((6, 4, 3, 3)), "experts": rng.standard_normal((2, 3, 3)),
        "head.weight": np.ones((4, 4)), "gone.weight": np.ones((4, 4)), "bias": np.ones(3), "ids": np.ones((2, 2), int),
        "empty.weight": np.ones((0, 4)), "in_proj_weight": np.ones((3, 3)), "scalar": np.ones(()),
        "q.lora_A.weight": np.ones((2, 4)), "q.lora_B.default.weight": np.ones((4, 2)),
        "lora_embedding_A": np.ones((2, 4)), "lora_Also.weight": np.ones((3, 2)),
    }  # fmt: skip
    new = {name: np.asarray(array + 1) for name, array in old.items() if name != "gone.weight"}
    new |= {"head.weight": np.ones((5, 4)), "added.weight": np.ones((2, 2))}
    save_file(old, "a.safetensors")
    save_file(new, "b.safetensors")
    found = compared(run, "a.safetensors", "b.safetensors")
    assert {t["name"]: (t["outputs"], t["inputs"]) for t in found["tensors"]} == {
        "conv.weight": (6, 36),
        "in_proj_weight": (3, 3),
        "lora_Also.weight": (3, 2),
    }
    factors = ("q.lora_A.weight", "q.lora_B.default.weight", "lora_embedding_A")
    assert {entry["name"]: entry["reason"] for entry in found["skipped"]} == {
        **dict.fromkeys(factors, "a factor of an adapter: merge it first"),
        "experts": "3 axes, and no weight of a convolution",
        "head.weight": "shape 4 x 4 before, 5 x 4 after",
        "gone.weight": "not in b.safetensors",
        "added.weight": "not in a.safetensors",
        "bias": "1 axis: LoRA is of matrices",
        "scalar": "0 axes: LoRA is of matrices",
        "ids": "I64 before, I64 after: LoRA is of real numbers",
        "empty.weight": "empty",
    }
    assert any("in_proj_weight" in note and "rank_pattern" in note for note in found["notes"])
    assert found["peft"]["rank_pattern"] == {"lora_Also": 1, "conv": 1}
    code, out, _ = run("weights", "a.safetensors", "b.safetensors")
    assert code == 0
    for entry in found["skipped"]:
        assert entry["name"] in out
        assert entry["reason"] in out


def test_names_are_chosen_by_patterns(run, folder):
    words = ["old.safetensors", "new.safetensors"]
    found = compared(run, *words, "--include=*.up.*", "--include=frozen*", "--exclude=*.1.*")
    assert [tensor["module"] for tensor in found["tensors"]] == ["frozen", "layers.0.up"]
    reasons = {entry["name"]: entry["reason"] for entry in found["skipped"]}
    assert reasons["layers.1.up.weight"] == "not asked for"


def test_weights_that_are_stored_as_inputs_by_outputs(run, folder):
    """Transposed in both files and said so, everything is as it was; unsaid, the inputs do not fit."""
    from linreg_lora.files.tensors import tensors

    for name in ("old", "new"):
        content = {
            key: t.read().astype(np.float32)
            for key, t in tensors(folder / f"{name}.safetensors").items()
            if "layers" in key
        }
        save_file({key: np.ascontiguousarray(array.T) for key, array in content.items()}, f"{name}_t.safetensors")
    given = ["--activations=inputs.npz", "--include=layers*"]
    straight = compared(run, "old.safetensors", "new.safetensors", *given)["tensors"]
    turned = compared(run, "old_t.safetensors", "new_t.safetensors", *given, "--fan-in-fan-out=layers.*")["tensors"]
    for one, other in zip(straight, turned, strict=True):
        assert (one["rank"], one["outputs"], one["inputs"]) == (other["rank"], other["outputs"], other["inputs"])
        np.testing.assert_allclose(one["energy"], other["energy"], rtol=1e-12)
        np.testing.assert_allclose(one["rounding"]["edge"], other["rounding"]["edge"], rtol=1e-3)
        np.testing.assert_allclose(one["rounding"]["share"], other["rounding"]["share"], rtol=1e-9)
    code, _, err = run("weights", "old_t.safetensors", "new_t.safetensors", *given)
    assert code == 2
    assert "inputs x outputs" in err


def test_the_metric_is_the_covariance_where_the_bias_was_trained(run, tmp_path):
    """LoRA with an offset, fitted by its own estimator on centred data, loses what these ranks leave out."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((60, 6)) * np.logspace(0, -1, 6) + 3
    y = x @ rng.standard_normal((6, 5)) + rng.standard_normal((60, 5)) + 2
    xc, yc = x - x.mean(axis=0), y - y.mean(axis=0)
    weight = np.linalg.lstsq(xc, yc, rcond=None)[0].T.copy()
    old = {"l.weight": np.zeros((5, 6)), "l.bias": np.zeros(5)}
    save_file(old, tmp_path / "old.safetensors")
    save_file({"l.weight": weight, "l.bias": y.mean(axis=0) - weight @ x.mean(axis=0)}, tmp_path / "new.safetensors")
    np.savez(tmp_path / "x.npz", **{"l": x})
    words = [str(tmp_path / "old.safetensors"), str(tmp_path / "new.safetensors"), f"--activations={tmp_path}/x.npz"]
    losses = [np.sum((yc - xc @ ll.estimators.fit_lora(xc.T, yc.T, rank=r).T) ** 2) / 60 for r in (0, 2, 5)]
    energy = {
        centre: compared(run, *words, f"--centre={centre}", "--ranks=2")["tensors"][0]
        for centre in ("auto", "yes", "no")
    }
    assert energy["auto"] == energy["yes"]
    assert energy["auto"]["energy"] == pytest.approx(losses[0] - losses[2])
    kept = energy["auto"]["kept"][0]["share"]
    assert kept == pytest.approx((losses[0] - losses[1]) / (losses[0] - losses[2]))
    assert energy["no"]["energy"] > 2 * energy["auto"]["energy"]


def test_a_budget_and_the_file_for_peft(run, folder):
    words = ["old.safetensors", "new.safetensors", "--budget=200", "--weigh=share", "--rank-pattern=ranks.json"]
    found = compared(run, *words)
    written = json.loads((folder / "ranks.json").read_text())
    assert written == found["peft"]
    assert found["parameters"] == found["budget"]["parameters"] == sum(written["rank_pattern"].values()) * 40 == 200
    assert found["budget"]["kept"] == pytest.approx(found["budget"]["most"])
    by_hand = ll.checkpoints.compare_checkpoints(
        folder / "old.safetensors", folder / "new.safetensors", budget=200, weigh="share"
    )
    gains = sorted((s**2 / u.energy for u in by_hand.updates.values() if u.rank for s in u.values), reverse=True)
    assert found["budget"]["kept"] == pytest.approx(sum(gains[:5]) / 4)
    code, out, _ = run("weights", *words)
    assert code == 0
    assert "Under a budget of 200: 200 used" in out
    in_metric = compared(run, *words[:3], "--activations=inputs.npz")  # frozen has no inputs, and has not changed
    assert in_metric["budget"]["parameters"] == 200


def test_the_table(run, folder):
    words = ["old.safetensors", "new.safetensors", "--activations=inputs.npz", "--ranks=1,2", "--noise-std=1"]
    code, out, err = run("weights", *words)
    assert (code, err) == (0, "")
    for part in (
        "rank 99 %",
        "by plain SVD",
        "kept by 2",
        "layers.1.down.weight",
        "in the metric of the inputs",
        "B and A of these ranks: 400 numbers",
        "no activations, so ranks are of the plain update: frozen",
    ):
        assert part in out  # fmt: skip


def test_no_more_than_a_pair_of_tensors_is_in_memory(tmp_path):
    """Eight pairs take no more than one, but for a tenth and what the spectra are."""

    def peak(count):
        rng = np.random.default_rng(5)
        for name in ("old", "new"):
            content = {f"l{i}.weight": rng.standard_normal((300, 400)).astype(np.float16) for i in range(count)}
            save_file(content, tmp_path / f"{name}.safetensors")
        del content
        tracemalloc.start()
        ll.checkpoints.compare_checkpoints(tmp_path / "old.safetensors", tmp_path / "new.safetensors")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)
    one, eight = peak(1), peak(8)
    assert eight < 1.1 * one + 8 * 2 * 300 * 8


BOTH = ["old.safetensors", "new.safetensors"]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["none.safetensors", "new.safetensors"], ["before", "a checkpoint", "none.safetensors"]),
        (["old.safetensors", "model.bin"], ["model.bin", "pickled objects are not read"]),
        (["old.safetensors", "text.safetensors"], ["text.safetensors", "a safetensors file"]),
        (["old.safetensors", "nan.safetensors"], ["nan.safetensors", "nan at layers.0.up.weight [3, 5]", "--exclude"]),
        (["inf.safetensors", "new.safetensors"], ["inf.safetensors", "-inf at layers.0.up.weight [3, 5]"]),
        (["old.safetensors", "other.safetensors"], ["after", "weights that are in both", "not in old.safetensors"]),
        ([*BOTH, "--include=z*"], ["include", "a pattern of tensors", "z*"]),
        ([*BOTH, "--exclude=z*"], ["exclude", "z*"]),
        ([*BOTH, "--fan-in-fan-out=z*"], ["fan-in-fan-out", "z*"]),
        ([*BOTH, "--exclude=*"], ["weights that are in both", "not asked for"]),
        ([*BOTH, "--share=2"], ["share", "at most 1", "2"]),
        ([*BOTH, "--budget=-1"], ["budget", "an integer >= 0", "-1"]),
        ([*BOTH, "--budget=9", "--weigh=size"], ["weigh", "energy, share", "size"]),
        ([*BOTH, "--centre=maybe"], ["centre", "auto, yes, no", "maybe"]),
        ([*BOTH, "--samples=0"], ["samples", "an integer >= 1"]),
        ([*BOTH, "--ranks=a"], ["ranks", "integers"]),
        ([*BOTH, "--ranks=-2"], ["ranks", ">= 0"]),
        ([*BOTH, "--noise-std=1"], ["noise-std", "activations or moments"]),
        ([*BOTH, "--activations=none.npz"], ["none.npz"]),
        ([*BOTH, "--activations=old.csv"], ["activations", ".npz"]),
        ([*BOTH, "--activations=objects.npz"], ["objects are not read"]),
        ([*BOTH, "--activations=narrow.npz"], ["layers.0.up: expected 16 inputs", "received 7"]),
        ([*BOTH, "--activations=flat.npz"], ["layers.0.up", "a matrix"]),
        ([*BOTH, "--activations=holes.npz"], ["layers.0.up", "nan at [1, 2]"]),
        ([*BOTH, "--moments=inputs.npz"], ["layers.0.down", "square", "(100, 24)"]),
        ([*BOTH, "--moments=inputs.npz", "--activations=inputs.npz"],
         ["moments", "not among the activations"]),
        ([*BOTH, "--activations=narrow.npz", "--budget=9"], ["layers.0.up", "16 inputs"]),
        ([*BOTH, "--activations=one.npz", "--budget=9"], ["weigh", "share", "layers.0.d"]),
        (["old.safetensors", "old.safetensors"], ["rank-pattern", "rank 1 at least"]),
        (["old.safetensors", "adapter.safetensors"], ["after", "merge the adapter into its weights first"]),
        (["twice", "new.safetensors"], ["every tensor in one file", "name the file"]),
    ],
)  # fmt: skip
def test_bad_lines(run, folder, words, parts):
    from linreg_lora.files.tensors import tensors

    content = {name: t.read() for name, t in tensors(folder / "old.safetensors").items()}
    for name, value in (("nan", np.nan), ("inf", -np.inf)):
        wrong = content["layers.0.up.weight"].copy()
        wrong[3, 5] = value
        save_file(content | {"layers.0.up.weight": wrong}, f"{name}.safetensors")
    save_file({"else.weight": np.ones((2, 2))}, "other.safetensors")
    save_file({"q.base_layer.bias": np.ones(4), "q.lora_B.weight": np.ones((4, 2))}, "adapter.safetensors")
    (folder / "twice").mkdir()
    for name in ("a", "b"):
        save_file(content, folder / "twice" / f"{name}.safetensors")
    (folder / "model.bin").write_bytes(b"\x80\x04]\x94.")
    (folder / "text.safetensors").write_text("hello, I am text")
    (folder / "old.csv").write_text("a\n1\n")
    holes = np.ones((4, 16))
    holes[1, 2] = np.nan
    arrays = {"objects": np.array([{}, 1], dtype=object), "narrow": np.ones((4, 7)), "flat": np.ones(4), "holes": holes,
              "one": np.ones((4, 16))}  # fmt: skip
    for name, array in arrays.items():
        np.savez(folder / f"{name}.npz", **{"layers.0.up": array})
    before = sorted(path.name for path in folder.rglob("*"))
    code, out, err = run("weights", *words, "--rank-pattern=ranks.json")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    for part in parts:
        assert part in err
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_a_place_that_cannot_be_written(run, folder):
    code, out, err = run("weights", "old.safetensors", "new.safetensors", "--rank-pattern=missing/ranks.json")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "missing" in err
