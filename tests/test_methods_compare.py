"""`linreg-lora compare` and its twin in Python: table, JSON, picture, and rows that say why they have no number."""

import json
import re

import numpy as np
import pytest
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from users_methods import OneScale

import linreg_lora as ll
from linreg_lora.figures import method_map

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
