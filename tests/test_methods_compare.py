"""`linreg-lora compare` and its twin in Python: table, JSON, picture, and rows that say why they have no number."""

import hashlib
import json
import re

import numpy as np
import pytest
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from test_methods_forgetting import general
from users_methods import OneScale

import linreg_lora as ll
from linreg_lora.figures import method_map
from linreg_lora.simulation import comparison

SIZES = ["--n=16", "--dx=6", "--dy=5", "--spectrum=2,1", "--noise-std=1"]
PROBLEM = ll.Problem(n=16, dx=6, dy=5, spectrum=(2.0, 1.0), noise_std=1.0)


def test_json_holds_what_python_returns(run):
    code, out, err = run(
        "compare", *SIZES, "--adapt=bitfit,ia3,frozen_a:2,lora:2,lora:9,fft", "--trials=20", "--seed=4", "--format=json"
    )
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert "pretrained_seed" not in said
    rows = {row["method"]: row for row in said["methods"]}
    del rows["fft (best ridge)"]
    for one in ll.compare(PROBLEM, ["bitfit", "frozen-a:2", "lora:2", "fft"], trials=20, seed=4):
        row = rows.pop(one.method)
        assert row["parameters"] == one.parameters
        assert row["theory"]["risk"] == one.theory.risk
        assert row["monte_carlo"]["mean"] == one.simulated.risk
        assert row["monte_carlo"]["stderr"] == one.simulated.stderr
    assert rows["ia3"]["theory"]["note"].startswith("pretrained: expected A0")
    assert rows["lora:9"]["theory"]["note"].startswith("rank: expected an integer in 0..5")
    for row in rows.values():
        assert row["theory"]["risk"] is row["monte_carlo"]["mean"] is row["monte_carlo"]["stderr"] is None
        assert row["monte_carlo"]["note"] == row["theory"]["note"]


def test_the_table_has_a_row_for_every_method(run):
    code, out, err = run(
        "compare", *SIZES, "--ridge=1", "--adapt=bitfit,ia3,lora:1", "--pretrained_seed=2", "--trials=20"
    )
    assert (code, err) == (0, "")
    assert "A0 iid N(0, 1) from seed 2" in out
    lines = {name: line for name in ("bitfit", "ia3", "lora:1") for line in out.splitlines() if f" {name} " in line}
    assert lines["ia3"].count(" none ") == 5  # theory and its kind, simulated and its error, forgetting
    assert "ridge: expected 0, received 1.0" in lines["ia3"]
    assert f"{ll.theory.bitfit_risk(PROBLEM).risk:.5g}" in lines["bitfit"]


def test_one_way_alone(run):
    table = run("compare", *SIZES, "--adapt=bitfit,fft", "--method=theory")[1]
    assert "simulated" not in table
    assert "missing" not in table
    table = run("compare", *SIZES, "--adapt=bitfit,fft", "--method=monte-carlo", "--trials=4")[1]
    assert "theory" not in table


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--adapt=bitfti"], "method: expected one of adapter:rank, .*received bitfti; did you mean bitfit"),
        (["--adapt="], "method: expected one of"),
        (["--adapt=fft,fft"], "adapt: expected each method once, received fft"),
        (["--adapt=fft", "--trials=1"], "trials: expected at least 2"),
        (["--adapt=ia3", "--pretrained-seed=-1"], "pretrained-seed: expected an integer in 0"),
        (["--adapt=fft", "--picture=x.gif"], "picture: expected a file that ends in"),
        ([], "adapt: expected methods, .*or a --budget instead, received neither"),
    ],
)
def test_what_cannot_run_is_one_line(run, words, message):
    code, out, err = run("compare", *SIZES, *words)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert re.search(message, err), err


def test_a_users_method_is_compared_with_its_reasons():
    given = PROBLEM.replace(pretrained=np.ones((5, 6)))
    theory, simulated = (
        getattr(ll.compare(given, [OneScale()], trials=20)[0], name) for name in ("theory", "simulated")
    )
    assert np.isnan(theory.risk)
    assert "one whose expected risk theory knows" in theory.notes[0]
    assert simulated.stderr > 0
    broken = ll.compare(PROBLEM, [OneScale(), "bitfit"], trials=20)  # without A0 its fit raises TypeError
    assert np.isnan(broken[0].simulated.risk)
    assert broken[0].simulated.notes[0].startswith("TypeError: ")
    assert np.isfinite(broken[1].simulated.risk)


def test_labels_cover_neither_points_nor_one_another():
    names = ["bitfit", "ia3", "lora:0", "lora:1", "lora:2", "lora:3", "frozen-a:1", "frozen-a:2", "frozen-b:1", "fft"]
    problem = PROBLEM.replace(pretrained=np.random.default_rng(0).standard_normal((5, 6)))
    compared = ll.compare(problem, names, computed_by=["theory"])
    figure = method_map.of_methods(problem, compared)
    (axes,) = figure.axes
    texts = [text for text in axes.texts if text.get_text() in names]
    assert len(texts) == len(names)
    renderer = figure.canvas.get_renderer()
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text, renderer) for text in texts]
    (legend,) = figure.legends
    assert not legend.get_window_extent(renderer).overlaps(axes.get_window_extent(renderer))
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i]), texts[i]
        for one in compared:
            at = axes.transData.transform((one.parameters, one.theory.risk))
            assert not Bbox([at - 3, at + 3]).overlaps(box), (texts[i], one.method)


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_pictures_are_written(run, tmp_path, ending):
    path = tmp_path / f"methods.{ending}"
    code, _, err = run("compare", *SIZES, "--adapt=bitfit,lora:9,fft", "--trials=4", f"--picture={path}")
    assert (code, err) == (0, "")
    assert path.stat().st_size > 1000
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


# -- order and kinds ---------------------------------------------------------------------------------------


def test_rows_are_sorted_and_say_what_was_asked(run):
    asked = ["ia3", "bitfit", "fft", "lora:5", "chain:5:1", "vera:2", "frozen-a:2"]
    words = ["compare", *SIZES, f"--adapt={','.join(asked)}", "--trials=8", "--format=json"]
    rows = json.loads(run(*words)[1])["methods"]
    order = [row["method"] for row in rows]
    assert order[-1] == "ia3"  # it has no risk
    risks = [row["monte_carlo"]["mean"] if row["theory"]["risk"] is None else row["theory"]["risk"] for row in rows]
    assert risks[:-1] == sorted(risks[:-1])
    assert [name for name in order if name in ("fft", "lora:5", "chain:5:1")] == ["fft", "lora:5", "chain:5:1"]  # equal
    assert {row["method"]: row["asked"] for row in rows if row["asked"] is not None} == {
        name: place for place, name in enumerate(asked)
    }
    kinds = {row["method"]: row["kind"] for row in rows}
    assert kinds == {"ia3": None, "vera:2": "simulated", **dict.fromkeys(set(order) - {"ia3", "vera:2"}, "exact")}
    assert PROBLEM.replace(n=6).moments_note.startswith("the mean is infinite")
    rows = ll.compare(PROBLEM.replace(n=6), ["ia3", "fft", "bitfit"], computed_by=["theory"])
    assert [rows[place].method for place in comparison.by_risk(rows)] == ["bitfit", "fft", "ia3"]
    assert [row.theory.kind for row in rows] == [None, "exact", "exact"]


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ({}, "exact equivalent exact equivalent exact expansion exact"),
        ({"ridge": 2.0}, "equivalent equivalent equivalent equivalent exact None equivalent"),
        ({"n": 3}, "equivalent equivalent exact None exact None equivalent"),
        ({"input_mean": 0.5}, "exact equivalent None None exact None exact"),
        ({"input_mean": 0.5, "ridge": 2.0}, "expansion equivalent None None exact None equivalent"),
        ({"input_law": "t:8", "n": 40}, "equivalent None None None exact None equivalent"),
        ({"input_law": "laplace", "n": 40}, "expansion equivalent None None exact None expansion"),
        (
            {"input_law": "laplace", "n": 60, "ridge": 1.0, "input_covariance": None},
            "expansion equivalent None None exact None expansion",
        ),
    ],
)
def test_kinds_of_risks(change, kinds):
    problem = general(16, 7, 5, **{"ridge": 0.0})[0].replace(**change)
    names = ["fft", "lora:1", "frozen-a:2", "adapter:1", "bitfit", "ia3-in", "fft+bias"]
    rows = ll.compare(problem, names, computed_by=["theory"])
    assert " ".join(str(row.theory.kind) for row in rows) == kinds, [row.theory.formula for row in rows]
    assert not any(row.theory.flagged for row in rows if row.theory.kind == "exact")


def test_fft_with_its_best_ridge_is_a_row_where_theory_knows_it(run):
    row = comparison.tuned_fft(PROBLEM, computed_by=["theory"])
    best = ll.theory.fft_best_ridge(PROBLEM)
    assert (row.theory.risk, row.theory.ridge, row.parameters) == (best.risk, best.ridge, 30)
    words = ["compare", *SIZES, "--adapt=fft,bitfit", "--method=theory", "--format=json"]
    rows = {row["method"]: row for row in json.loads(run(*words)[1])["methods"]}
    assert rows["fft (best ridge)"]["theory"]["risk"] == best.risk < rows["fft"]["theory"]["risk"]
    assert rows["fft (best ridge)"]["best_ridge"] == best.ridge
    assert "best_ridge" not in rows["fft"]
    rows = {row["method"]: row for row in json.loads(run(*words, "--ridge=auto")[1])["methods"]}
    assert set(rows) == {"fft", "bitfit"}
    assert rows["fft"]["theory"]["risk"] == best.risk
    said = json.loads(run(*words, "--input-mean=1")[1])
    assert {row["method"] for row in said["methods"]} == {"fft", "bitfit"}
    assert said["without_best_ridge"].startswith("input_mean: expected 0 for a best ridge by theory")


# -- matrices from a file, and what does not apply -----------------------------------------------------------------


def test_matrices_of_a_file_are_the_problem_s(run, tmp_path):
    problem, _ = general(16, 7, 5)
    arrays = {"A0": problem.pretrained, "shift": problem.task_shift, "sigma": problem.input_covariance}
    arrays |= {"noise_covariance": problem.noise_covariance}
    path = tmp_path / "task.npz"
    np.savez(path, **arrays)
    words = ["compare", "--n=16", "--noise-std=0.8", f"--matrices={path}", "--adapt=ia3,frozen-a:2", "--format=json"]
    code, out, err = run(*words, "--method=theory")
    assert (code, err) == (0, "")
    said = json.loads(out)
    rows = {row["method"]: row for row in said["methods"]}
    for one in ll.compare(problem, ["ia3", "frozen-a:2"], computed_by=["theory"]):
        assert rows[one.method]["theory"]["risk"] == one.theory.risk
        assert rows[one.method]["forgetting"]["value"] == one.forgetting.value
    assert (said["problem"]["dx"], said["problem"]["dy"]) == (7, 5)
    assert said["problem"]["spectrum"] == list(problem.spectrum)
    assert said["matrices"]["arrays"] == list(arrays)
    assert said["matrices"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    np.savez(path, task_shift=problem.task_shift, input_mean=np.arange(7.0) / 7)  # by the fields of Problem
    table = run(*words[:-2], "--adapt=bitfit", "--method=theory", "--dx=7")[1]
    moved = problem.replace(input_covariance=None, noise_covariance=None, input_mean=np.arange(7.0) / 7)
    assert f"{ll.theory.bitfit_risk(moved).risk:.5g}" in table
    assert "shift, mean of task.npz" in table
    np.savez(path, A0=problem.pretrained)
    assert run(*words, "--spectrum=2,1", "--method=theory")[0] == 0


@pytest.mark.parametrize(
    ("arrays", "words", "message"),
    [
        ({"A0": np.eye(2, 3)}, [], "m.npz: expected an array named shift, of .*received A0; give --spectrum"),
        ({}, [], "m.npz: expected an array named shift, of .*received no array"),
        ({"shift": np.eye(2, 3), "A0": np.eye(3)}, [], r"m.npz: A0: expected dy = 2 as shift has it, .*\(3, 3\)"),
        ({"shift": np.eye(2, 3), "mean": np.ones(2)}, [], r"m.npz: mean: expected dx = 3 as shift has it"),
        ({"shift": np.ones(3)}, [], r"m.npz: shift: expected a dy x dx matrix, received shape \(3,\)"),
        ({"shift": np.eye(2, 3)}, ["--dx=4"], "m.npz: shift: expected dx = 4 as --dx has it"),
        ({"shift": np.eye(2, 3)}, ["--spectrum=1"], "spectrum: expected no --spectrum beside shift of m.npz"),
        ({"shift": np.eye(2, 3), "A0": np.eye(2, 3)}, ["--pretrained-seed=1"], "pretrained-seed: expected no"),
        ({"shift": np.eye(2, 3), "sigma": -np.eye(3)}, [], "m.npz: sigma: expected 3 variances or a 3 x 3 symmetric"),
        ({"shift": np.eye(2, 3), "sigma": np.ones((3, 2))}, [], r"m.npz: sigma: expected 3 variances .*\(3, 2\)"),
        ({"shift": np.full((2, 3), np.nan)}, [], "m.npz: shift: expected finite numbers, received 6 that are not"),
        ({"shift": np.eye(2, 3), "B": np.eye(2)}, [], "m.npz: expected arrays among A0, shift, .*received B"),
        ({"shift": np.eye(2), "task_shift": np.eye(2)}, [], "m.npz: expected one array for shift"),
        ({"shift": np.array([[1, None]])}, [], "m.npz: expected arrays of real numbers, received type object"),
        ({"mean": np.ones(3)}, ["--spectrum=1"], "dy: expected --dy, which no array of m.npz tells"),
    ],
)
def test_matrices_that_do_not_fit_are_one_line(run, tmp_path, arrays, words, message):
    path = tmp_path / "m.npz"
    np.savez(path, **arrays)
    refused(run, ["--n=9", "--noise-std=1", f"--matrices={path}", "--adapt=fft", *words], message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.npz", b"not an archive", "m.npz: expected a NumPy file, received File is not a zip file"),
        ("m.npy", b"", "matrices: expected a .npz file of named arrays, received .*m.npy; write it by numpy.savez"),
        ("none.npz", None, "path: expected a file, received "),
    ],
)
def test_files_that_are_no_matrices_are_one_line(run, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    refused(run, ["--n=9", "--noise-std=1", f"--matrices={tmp_path / name}", "--adapt=fft"], message)
    refused(
        run, ["--n=9", "--noise-std=1", "--dx=3", "--dy=2", "--adapt=fft"], "spectrum: expected --spectrum, or --mat"
    )


def refused(run, words, message):
    code, out, err = run("compare", *words)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert re.search(message, err), err


@pytest.mark.parametrize(
    ("method", "words", "message"),
    [
        ("prompt:1", [], "pretrained: expected A0, a dy x dx matrix, received nothing; prompt:1 acts through A0"),
        ("prefix:1", [], "pretrained: expected A0, a dy x dx matrix, received nothing; prefix:1 acts through A0"),
        ("ia3", [], "pretrained: expected A0, a dy x dx matrix, received nothing; IA3 rescales the pretrained outputs"),
        ("ia3-in", [], "pretrained: expected A0, .*; ia3-in rescales the inputs of A0"),
        ("qlora:2:4", [], "pretrained: expected A0, a dy x dx matrix, for qlora:2:4, which changes it"),
        ("lora:9", [], r"rank: expected an integer in 0..5 .*received 9"),
        ("adapter:5", ["--pretrained-seed=1", "--n=4"], "rank: expected an integer in 0..4, min.*features that vary"),
        ("features:6", ["--pretrained-seed=1"], "count: expected an integer in 1..5, the rows of A0"),
        ("frozen-a:7", [], "rank: expected an integer in 1..6 for frozen-a, received 7"),
        ("qlora:2", ["--pretrained-seed=1"], "block: expected .*30"),
        *((name, ["--pretrained-seed=1", "--n=4"], f"n: expected n >= dx or a ridge > 0 for {name}, whose factors")
          for name in ("pissa:2", "loftq:2:5", "lora-ga:2", "qpissa:2:5")),
    ],
)  # fmt: skip
def test_a_method_that_does_not_apply_says_what_it_needs(run, method, words, message):
    sizes = [word for word in SIZES if not (word.startswith("--n=") and any(one.startswith("--n=") for one in words))]
    refused(run, [*sizes, *words, f"--adapt={method}", "--trials=4"], message)


def test_methods_none_of_which_applies_are_named(run):
    message = "adapt: expected a method that has a risk here, .*ia3: pretr.*lora:9: rank"
    refused(run, [*SIZES, "--adapt=ia3,lora:9", "--method=theory"], message)
