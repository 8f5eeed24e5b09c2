"""The figures: their numbers against exact theory, what is drawn of them, and bytes that do not change on redrawing."""

import contextlib
import functools
import hashlib
import json
import re
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import xarray as xr
from committed import FOLDER, committed, drawn
from comparisons import assert_means_agree, critical_z

from linreg_lora import figures, provenance
from linreg_lora.errors import InvalidInput
from linreg_lora.figures import current, published, risk_vs_sample_size, style, theory_lines
from linreg_lora.files.atomic import write_dataset
from linreg_lora.theory.fft import fft_risk

NAME = "risk-vs-sample-size-weak-noise"
DIMENSION = 24
#: One n far below the threshold, one without a variance, one without a mean, two far above.
SAMPLE_SIZES = (8, 22, 24, 48, 96)
#: The mean of a heavy-tailed risk is compared with theory only where 8 moments exist, so that z is nearly normal.
LEAST_DISTANCE = 16

small_data = functools.partial(risk_vs_sample_size.data, sample_sizes=SAMPLE_SIZES, dimension=DIMENSION, each=1)


@pytest.fixture(scope="module")
def dataset():
    return small_data(512, seed=1)


@pytest.fixture(scope="module")
def axes(dataset):
    (axes,) = risk_vs_sample_size.draw(dataset).axes
    return axes


# -- numbers ------------------------------------------------------------------------------------------------------


def trusted_fft(dataset):
    """n, mean and standard error of FFT's simulated risk where a test on the mean is valid."""
    simulated = dataset.sel(computed_by="monte-carlo")
    far = np.abs(dataset["n"].values - dataset.attrs["dx"]) >= LEAST_DISTANCE
    return dataset["n"].values[far], simulated["fft_risk"].values[far], simulated["fft_stderr"].values[far]


def test_simulated_fft_agrees_with_exact_theory_and_rejects_its_rival(dataset):
    """Family-wise level 1e-6 over 3 means. The rival n - dx for n - dx - 1 fails on the same data."""
    n, mean, stderr = trusted_fft(dataset)
    assert n.tolist() == [8, 48, 96]
    exact = np.array([fft_risk(risk_vs_sample_size.setting(int(k), DIMENSION)).risk for k in n])
    assert_means_agree(mean, stderr, exact, 0.0)
    rival = DIMENSION**2 / (48 - DIMENSION)
    assert abs(mean[1] - rival) > critical_z(3) * stderr[1]


def test_exact_curve_has_every_n_and_no_value_where_no_mean_exists(dataset):
    n, exact = dataset["n_exact"].values, dataset["fft_exact"].values
    assert n.tolist() == list(range(8, 97))
    assert n[np.isnan(exact)].tolist() == [23, 24, 25]
    on_grid = dataset["fft_risk"].sel(computed_by="theory").values
    np.testing.assert_array_equal(np.where(np.isfinite(on_grid), on_grid, np.nan), exact[np.isin(n, SAMPLE_SIZES)])


# -- artists ------------------------------------------------------------------------------------------------------


def labelled_lines(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_lines_are_theory_and_break_at_the_threshold(axes, dataset):
    for name, line in labelled_lines(axes).items():
        if name == "FFT, simulated":
            continue
        x, y = line.get_data()
        assert not np.any(np.isfinite(y[x == 1.0])), name
        assert np.sum(x == 1.0) >= 1, name
        if name.startswith("LoRA"):
            np.testing.assert_array_equal(x, DIMENSION / dataset["n_fine"].values)
            theory = dataset["risk"].sel(computed_by="theory", rank=int(name[-1]))
            for n, risk in zip(theory["n"].values, theory.values, strict=True):
                drawn_there = y[x == DIMENSION / n]
                assert drawn_there == [risk] if np.isfinite(risk) else np.isnan(drawn_there), n


def test_lines_have_points_between_those_that_are_simulated():
    """And every sample size next to n = dx, where they bend."""
    stored = committed(NAME)
    sizes, fine = stored["n"].values, stored["n_fine"].values
    assert {*sizes, *range(94, 107)} <= set(fine)
    assert len(fine) > 3 * len(sizes)
    assert np.all(np.diff(fine) > 0)


def test_markers_are_the_simulated_means(axes, dataset):
    simulated = dataset.sel(computed_by="monte-carlo")
    drawn = [line for line in axes.lines if line.get_label() in ("FFT, simulated", "_simulated")]
    expected = [simulated["fft_risk"], *(simulated["risk"].sel(rank=rank) for rank in (1, 2, 4, 8))]
    for line, means in zip(drawn, expected, strict=True):
        kept = np.isfinite(means.values)
        np.testing.assert_array_equal(line.get_xdata()[kept], DIMENSION / dataset["n"].values[kept])
        np.testing.assert_array_equal(line.get_ydata()[kept], means.values[kept])


def test_theory_goes_through_the_simulated_points():
    """The committed data: at every n and rank within 3 % and z standard errors, level 1e-6 over all."""
    simulated, theory = (committed(NAME).sel(computed_by=by) for by in ("monte-carlo", "theory"))
    known = np.isfinite(simulated["stderr"].values) & (simulated["stderr"].values > 0)
    allowed = 0.03 * simulated["risk"] + critical_z(int(np.sum(known))) * simulated["stderr"]
    assert np.all((np.abs(theory["risk"] - simulated["risk"]) <= allowed).values[known])
    assert np.sum(known) > 80


def test_threshold_is_a_dotted_line_in_a_band_where_no_mean_exists(axes):
    (line,) = [line for line in axes.lines if list(line.get_xdata()) == [1.0, 1.0]]
    assert line.get_linestyle() == ":"
    (band,) = axes.patches
    left, right = band.get_x(), band.get_x() + band.get_width()
    np.testing.assert_allclose([left, right], [DIMENSION / (DIMENSION + 1), DIMENSION / (DIMENSION - 1)])


def test_a_mean_without_standard_error_is_hollow_and_has_no_error_bar(dataset):
    unknown = dataset.copy(deep=True)
    for name in ("stderr", "fft_stderr"):
        unknown[name].loc[{"n": 22}] = np.nan
    [axes] = risk_vs_sample_size.draw(unknown).axes
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [list(line.get_xdata()) for line in hollow] == [[DIMENSION / 22]] * 5
    assert all(np.isfinite(line.get_ydata()).all() for line in hollow)
    assert len(axes.collections) == 5
    for bars in axes.collections:
        x = [segment[0, 0] for segment in bars.get_segments() if len(segment)]
        assert x == [DIMENSION / n for n in (8, 48, 96)]


def test_the_callers_style_neither_changes_the_figure_nor_is_changed(dataset, tmp_path):
    style.save(risk_vs_sample_size.draw(dataset), tmp_path / "plain.png")
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 5, "savefig.transparent": True}):
        before = dict(matplotlib.rcParams)
        style.save(risk_vs_sample_size.draw(dataset), tmp_path / "restyled.png")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "restyled.png").read_bytes() == (tmp_path / "plain.png").read_bytes()


# -- files --------------------------------------------------------------------------------------------------------


def read_all(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.heavy
def test_redrawing_gives_the_same_bytes(dataset, tmp_path):
    for name in ("first", "second", "third"):
        (tmp_path / name).mkdir()
    figures.write(NAME, dataset, tmp_path / "first")
    figures.write(NAME, dataset, tmp_path / "second")
    figures.write(NAME, xr.load_dataset(tmp_path / "first" / f"{NAME}.nc", engine="h5netcdf"), tmp_path / "third")
    first, second, third = (read_all(tmp_path / name) for name in ("first", "second", "third"))
    assert sorted(first) == [f"{NAME}.{suffix}" for suffix in ("json", "nc", "pdf", "png")]
    assert second == first
    write_dataset(dataset, tmp_path / "data.nc")
    assert first[f"{NAME}.nc"] == (tmp_path / "data.nc").read_bytes()
    assert all(third[f"{NAME}.{suffix}"] == first[f"{NAME}.{suffix}"] for suffix in ("pdf", "png"))


def test_the_pdf_embeds_its_fonts_and_has_no_date(dataset, tmp_path):
    figures.write(NAME, dataset, tmp_path)
    pdf = (tmp_path / f"{NAME}.pdf").read_bytes()
    assert b"/Subtype /Type3" not in pdf
    assert b"/FontFile2" in pdf
    assert b"/CreationDate" not in pdf


def test_svg_has_the_same_bytes_and_no_date_too(dataset, tmp_path):
    for name in ("first.svg", "second.svg"):
        style.save(risk_vs_sample_size.draw(dataset), tmp_path / name)
    first, second = read_all(tmp_path).values()
    assert first == second
    assert b"<dc:date>" not in first
    assert b">expected excess risk</text>" in first


def test_regenerate_writes_data_pictures_and_provenance(dataset, tmp_path, monkeypatch):
    """In this process and through an executor: the same data, and one step of progress a cell."""
    monkeypatch.setattr(risk_vs_sample_size.weak_noise, "data", small_data)
    asked = []

    @contextlib.contextmanager
    def threads(workers):
        asked.append(workers)
        with ThreadPoolExecutor(workers) as executor:
            yield executor

    monkeypatch.setattr(figures, "local_processes", threads)
    for workers, folder in ((1, tmp_path / "new" / "alone"), (2, tmp_path / "together")):
        steps = []
        (paths,) = figures.regenerate(
            [NAME],
            folder,
            trials=512,
            seed=1,
            workers=workers,
            progress=lambda *_, steps=steps: contextlib.nullcontext(steps.append),
        )
        assert paths == [folder / f"{NAME}.{suffix}" for suffix in ("nc", "pdf", "png", "json")]
        assert sum(steps) == dataset.sizes["n_fine"]
        xr.testing.assert_identical(xr.load_dataset(paths[0], engine="h5netcdf"), dataset)
    assert asked == [2]
    assert read_all(tmp_path / "together") == read_all(tmp_path / "new" / "alone")


def test_data_of_the_same_run_are_drawn_again_and_not_computed_again(dataset, tmp_path, monkeypatch):
    """Other trials, another seed, other code, data that were changed, or `fresh`: computed again."""
    calls = []

    def counted(trials, seed, *rest):
        calls.append((trials, seed))
        return dataset.assign_attrs(trials=trials, seed=seed)

    def run(trials=512, seed=1, **options):
        calls.clear()
        (paths,) = figures.regenerate([NAME], tmp_path, trials=trials, seed=seed, **options)
        return len(calls), {path.suffix for path in paths}

    monkeypatch.setattr(risk_vs_sample_size.weak_noise, "data", counted)
    monkeypatch.setattr(risk_vs_sample_size.weak_noise, "draw", lambda dataset: dataset)
    monkeypatch.setattr(style, "save", lambda picture, path: path.write_bytes(picture["risk"].values.tobytes()))
    assert run() == (1, {".nc", ".pdf", ".png", ".json"})
    before = read_all(tmp_path)
    (tmp_path / f"{NAME}.pdf").unlink()
    assert run() == (0, {".pdf", ".png"})
    assert read_all(tmp_path) == before
    assert run(fresh=True)[0] == 1
    assert run(trials=256)[0] == run(trials=256, seed=2)[0] == 1
    monkeypatch.setattr(provenance, "source_hash", lambda: "other sources")
    assert run(trials=256, seed=2)[0] == 0
    monkeypatch.setattr(current, "code_hash", lambda name: "other")
    assert run(trials=256, seed=2)[0] == 1
    assert run(trials=256, seed=2)[0] == 0
    (tmp_path / f"{NAME}.nc").write_bytes(b"changed")
    assert run(trials=256, seed=2)[0] == 1


def test_provenance_repeats_the_run(dataset, tmp_path):
    content = figures.sidecar(NAME, dataset)
    assert content == {
        "figure": NAME,
        "caption": risk_vs_sample_size.weak_noise.caption(dataset),
        "command": f"linreg-lora figures {NAME} --trials 512 --seed 1",
        "trials": 512,
        "seed": 1,
        "axes": {
            "computed_by": ["monte-carlo", "theory"],
            "n": list(SAMPLE_SIZES),
            "rank": [1, 2, 4, 8],
            "n_fine": sorted({*SAMPLE_SIZES, *theory_lines.sizes_between(SAMPLE_SIZES, DIMENSION, 1)}),
            "n_exact": list(range(8, 97)),
        },
        "one_problem": risk_vs_sample_size.setting(SAMPLE_SIZES[0], DIMENSION).to_dict(),
        "problems_sha256": dataset.attrs["problems_sha256"],
        "code_sha256": figures.code_hash(NAME),
        "package_sha256": provenance.source_hash(),
        "versions": {
            "linreg-lora": provenance.release(),
            **{package: version(package) for package in ("jax", "jaxlib", "numpy", "scipy", "matplotlib")},
        },
    }
    inside = figures.sidecar(NAME, dataset, FOLDER)
    assert inside == content
    revision = figures.sidecar(NAME, dataset, tmp_path).get("revision")
    assert revision is None or len(revision) == 40


#: How many panels a figure has, where that is not one: as many as an axis of its data has values, or readings.
PANELS = {
    "risk-vs-rank": "n",
    "formula-error-vs-dimension": "kind",
    "detectability": 2,
    "hessian-gap": 3,
    "real-tasks": 10,
    "phase-diagram-best-ridge": 4,
    "family-vs-sample-size": 2,
    "hybrids-against-parts": "case",
    "pissa-by-alignment": "rank",
    "robustness-gap": "regime",
    "intruders-by-strength": 2,
    "poisoning": 2,
    "training-steps": "optimiser",
}


@pytest.mark.parametrize("name", figures.NAMES)
def test_committed_picture_is_what_the_code_draws(name, tmp_path):
    """But for a pixel in a thousand that fonts may move; and nothing lies outside of it."""
    picture = drawn(name)
    style.save(picture, tmp_path / f"{name}.png")
    box, (width, height) = picture.get_tightbbox(), picture.get_size_inches()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0, "something is cut off at the edge"
    before, after = (matplotlib.image.imread(folder / f"{name}.png") for folder in (FOLDER, tmp_path))
    assert before.shape == after.shape
    assert np.mean(np.any(abs(before - after) > 0.2, axis=-1)) < 1e-3, "redraw it: make figures"


@pytest.mark.parametrize("name", figures.NAMES)
def test_committed_files_are_of_one_run_of_the_default_command(name):
    """But for the versions and the code that made them (`test_committed_data_are_of_this_code`)."""
    stored = committed(name)
    provenance = json.loads((FOLDER / f"{name}.json").read_text())
    changing = {"versions": None, "code_sha256": None, "package_sha256": None, "pictures": None}
    data = {"data_sha256": hashlib.sha256((FOLDER / f"{name}.nc").read_bytes()).hexdigest()}
    assert {**provenance, **changing} == {**figures.sidecar(name, stored), **changing, **data}
    assert (provenance["trials"], provenance["seed"]) == (400, 0)
    assert {path.suffix for path in FOLDER.glob(f"{name}.*")} == {".nc", ".json", ".pdf", ".png"}
    for suffix, picture in provenance["pictures"].items():
        assert picture["sha256"] == hashlib.sha256((FOLDER / f"{name}.{suffix}").read_bytes()).hexdigest()
        assert (picture["data_sha256"], picture["width"]) == (data["data_sha256"], None)
    assert sorted(provenance["pictures"]) == ["pdf", "png"]


@pytest.mark.parametrize("name", figures.NAMES)
def test_every_series_of_every_panel_is_in_a_legend_and_told_apart_without_colour(name):
    picture = drawn(name)
    panels = PANELS.get(name, 1)
    assert len(picture.axes) == (committed(name).sizes[panels] if isinstance(panels, str) else panels)
    assert picture.axes[0].get_ylabel()
    keys = [key for key in (*picture.legends, *(axes.get_legend() for axes in picture.axes)) if key]
    explained = [text.get_text() for key in keys for text in key.get_texts()]
    colours = {look.color for look in (style.REFERENCE, *style.FIVE_COMPARED)}
    for axes in picture.axes:
        assert axes.get_xlabel() or axes.get_shared_x_axes().joined(axes, picture.axes[-1])
        handles, labels = axes.get_legend_handles_labels()
        assert set(labels) <= set(explained)
        assert len(set(labels)) == len(labels)
        lines = [handle[0] if isinstance(handle, tuple) else handle for handle in handles]
        lines = [line for line in lines if hasattr(line, "get_marker")]
        series = {line.get_color() for line in axes.lines if line.get_marker() != "None"} & colours
        assert series <= {line.get_color() for line in lines}
        looks = {(line.get_marker(), str(line._unscaled_dash_pattern)) for line in lines}
        assert len(looks) == len(lines)
    if not any(key.get_title().get_text() for key in keys):
        assert len(set(explained)) == len(explained)


@pytest.mark.heavy
@pytest.mark.parametrize("name", figures.NAMES)
def test_committed_data_are_of_this_code(name):
    """Compared before a release; while code changes daily, the data are allowed to be older than it."""
    assert json.loads((FOLDER / f"{name}.json").read_text())["code_sha256"] == figures.code_hash(name), "make figures"


@pytest.mark.parametrize(
    ("name", "noise_std"), [("risk-vs-sample-size-weak-noise", 1.0), ("risk-vs-sample-size-strong-noise", 10.0)]
)
def test_committed_means_of_fft_agree_with_theory(name, noise_std):
    """Where 8 moments exist; family-wise level 1e-6."""
    n, mean, stderr = trusted_fft(committed(name))
    assert len(n) > 20
    exact = [fft_risk(risk_vs_sample_size.setting(int(k), noise_std=noise_std)).risk for k in n]
    assert_means_agree(mean, stderr, exact, 0.0)


def test_the_index_shows_every_figure():
    text = (FOLDER / "README.md").read_text()
    assert text == figures.index(FOLDER)
    assert all(f"![{name}]({name}.png)" in text for name in figures.NAMES)
    assert {path.stem for path in FOLDER.glob("*.png")} == set(figures.NAMES)


def test_what_the_readme_says_of_the_picture():
    """Ranks 4 and 8 beat FFT and ranks 1 and 2 lose to it at every n, on paired draws; level 1e-6 over all of them."""
    stored = committed(NAME).sel(computed_by="monte-carlo")
    z = (stored["difference"] / stored["difference_stderr"]).sel(rank=[1, 2, 4, 8]).values
    assert np.all(z[:, :2] > critical_z(z.size))
    assert np.all(z[:, 2:] < -critical_z(z.size))


# -- command ------------------------------------------------------------------------------------------------------


def test_names_are_selected_once_and_in_order():
    assert figures.select([]) == list(figures.NAMES)
    assert figures.select([NAME, NAME]) == [NAME]
    with pytest.raises(InvalidInput, match=f"figure: expected one of {', '.join(figures.NAMES)}, received nonsense"):
        figures.select(["nonsense"])


def test_a_papers_own_number_names_the_figure_that_redraws_it(run):
    assert figures.select(["figure-11", "2605.19018:10a", "Figure 11"]) == [
        "risk-vs-true-rank", "risk-vs-sample-size-weak-noise",
    ]  # fmt: skip
    code, out, _ = run("figures", "--list", "--format", "json")
    rows = json.loads(out)["figures"]
    assert (code, [row["figure"] for row in rows]) == (0, list(figures.NAMES))
    redrawn = {row["figure"]: row["redraws"] for row in rows if row["redraws"]}
    assert redrawn == {one.name: f"{one.paper} figure {one.number}" for one in published.PUBLISHED}
    assert all(len(row["shows"]) > 20 for row in rows)


NARROW = [
    pytest.param(name, marks=[] if name in ("bounds", "poisoning") else pytest.mark.heavy) for name in figures.NAMES
]


@pytest.mark.parametrize("name", NARROW)
def test_pictures_of_any_width_hold_what_they_show(name, tmp_path):
    """Nothing is cut, no label is longer than its axes by more than a fifth, and panels keep an inch."""
    dataset = committed(name)
    for width in (3.25, 5.5, 7.0):
        try:
            figures.valid_width([name], width)
        except InvalidInput:
            assert width < 7
            continue
        with style.of_width(width):
            picture = figures.module(name).draw(dataset)
            with style.applied():
                style.fit(picture, width)
        wide, high = picture.get_size_inches()
        box = picture.get_tightbbox()
        assert wide == width
        assert min(box.x0, box.y0, wide - box.x1, high - box.y1) >= 0
        for axes in picture.axes:
            assert axes.get_position().width * wide > 1
            assert axes.get_position().height * high > 0.9
            assert axes.yaxis.label.get_window_extent().height <= 1.3 * axes.bbox.height
    style.save(picture, tmp_path / "wide.svg")


def test_a_picture_of_a_width_and_type(run, dataset, tmp_path, monkeypatch):
    """252 points of TeX are a column of 3.487 inches; the data are the same as without a width."""
    monkeypatch.setattr(risk_vs_sample_size.weak_noise, "data", lambda *_: dataset)
    words = ("figures", NAME, f"--out={tmp_path}", "--trials=64", "--workers=1")
    code, out, _ = run(*words, "--width=252pt", "--image-format=png", "--image-format=svg")
    assert (code, sorted(Path(path).suffix for path in out.split())) == (0, [".json", ".nc", ".png", ".svg"])
    assert matplotlib.image.imread(tmp_path / f"{NAME}.png").shape[1] == int(252 / 72.27 * style.RESOLUTION)
    for option, expected in (
        ("--width=2in", "at least 3in"),
        ("--width=3in5", "a number and in"),
        ("--image-format=gif", "one of pdf"),
    ):
        code, _, err = run(*words, option)
        assert (code, expected in err) == (2, True)


def test_data_of_another_seed_are_not_overwritten_unasked(run, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(risk_vs_sample_size.weak_noise, "data", lambda *_: dataset)
    figures.write(NAME, dataset, tmp_path)
    before = read_all(tmp_path)
    words = ("figures", NAME, f"--out={tmp_path}", f"--trials={dataset.attrs['trials']}", "--workers=1", "--seed=77")
    code, _, err = run(*words)
    assert code == 2
    assert f"received {NAME} of {dataset.attrs['trials']} trials, seed 1, in /" in err
    assert err.endswith("; another --out, or --overwrite\n")
    assert read_all(tmp_path) == before
    assert run(*words, "--overwrite")[0] == 0


def test_fonts_are_true_type_by_the_figures_own_savefig_too(dataset, tmp_path):
    with matplotlib.rc_context({"pdf.fonttype": 3}):
        figures.module(NAME).draw(dataset).savefig(tmp_path / "own.pdf")
    written = (tmp_path / "own.pdf").read_bytes()
    assert b"/Subtype /Type3" not in written
    assert b"/FontFile2" in written


def test_command_writes_into_a_new_folder_and_names_the_files(run, tmp_path, monkeypatch):
    monkeypatch.setattr(risk_vs_sample_size.weak_noise, "data", small_data)
    folder = tmp_path / "some" / "folder"
    code, out, _ = run("figures", NAME, f"--out={folder}", "--trials=64", "--workers=1")
    assert code == 0
    assert sorted(printed := out.split()) == sorted(str(path) for path in folder.iterdir())
    assert len(printed) == 4


def test_unknown_figure_is_one_line_and_exit_code_2():
    command = [sys.executable, "-c", "from linreg_lora.__main__ import run; run()", "figures", "nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"linreg-lora: figure: expected one of {', '.join(figures.NAMES)}, received nonsense\n"


def test_folder_that_cannot_be_written_is_refused_before_any_draw(run, tmp_path, monkeypatch):
    monkeypatch.setattr(risk_vs_sample_size.weak_noise, "data", None)
    (tmp_path / "file").write_text("in the way")
    code, _, err = run("figures", NAME, f"--out={tmp_path / 'file' / 'folder'}")
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith("linreg-lora: out: expected a folder that can be written, received ")
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize(
    ("limit", "complete"), [(10_000, []), pytest.param(40_000, ["nc", "pdf"], marks=pytest.mark.heavy)]
)
def test_a_full_disk_is_one_line_and_leaves_only_complete_files(dataset, tmp_path, limit, complete):
    """A file-size limit stands for the disk's end: in the data, and in the PNG."""
    figures.write(NAME, dataset, tmp_path)
    whole, data = read_all(tmp_path), tmp_path / f"{NAME}.nc"
    folder = tmp_path / "full"
    script = f"""
        import resource, sys
        import xarray as xr
        from linreg_lora import cli
        from linreg_lora.figures import risk_vs_sample_size
        dataset = xr.load_dataset({str(data)!r}, engine="h5netcdf")
        risk_vs_sample_size.weak_noise.data = lambda *_: dataset
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        sys.argv = ["linreg-lora", "figures", {NAME!r}, "--out", {str(folder)!r}, "--workers=1"]
        cli.main()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("linreg-lora: out: expected a path that can be written, received ")
    left = read_all(folder) if folder.exists() else {}
    assert sorted(left) == [f"{NAME}.{suffix}" for suffix in complete]
    assert left.get(f"{NAME}.pdf") in (None, whole[f"{NAME}.pdf"])


@pytest.mark.parametrize(("option", "value"), [("--workers", 0), ("--trials", 1), ("--seed", -1)])
def test_bad_settings_are_one_line(run, option, value, tmp_path, monkeypatch):
    monkeypatch.setattr(risk_vs_sample_size.weak_noise, "data", small_data)
    for folder in (tmp_path, tmp_path / "new" / "folder"):
        code, _, err = run("figures", NAME, f"--out={folder}", "--workers=1", f"{option}={value}")
        assert (code, len(err.splitlines())) == (2, 1)
        assert list(tmp_path.iterdir()) == []


def test_there_are_no_more_processes_than_cells(dataset, tmp_path, monkeypatch):
    started = []

    @contextlib.contextmanager
    def local_processes(workers):
        started.append(workers)
        yield None

    monkeypatch.setattr(figures, "local_processes", local_processes)
    monkeypatch.setattr(risk_vs_sample_size.weak_noise, "data", lambda *_: dataset)
    list(figures.regenerate([NAME], tmp_path, trials=512, seed=1, workers=10**15))
    assert started == [risk_vs_sample_size.CELLS]


def test_a_curve_of_ones_own_joins_a_figure_as_its_page_shows(tmp_path, monkeypatch):
    """The code of docs/how-to/reproduce-a-figure.md on the committed data: one curve more than the figure has."""
    page = (FOLDER.parent / "docs" / "how-to" / "reproduce-a-figure.md").read_text()
    (code,) = re.findall(r"^```python run\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "figures").symlink_to(FOLDER)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code, names)
    assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")
    own = [line for line in names["axes"].lines if line.get_label() == "LoRA, rank 16"]
    assert [line.get_ydata().shape for line in own] == [names["ranks"].shape]
    assert "LoRA, rank 16" in [text.get_text() for text in names["axes"].get_legend().get_texts()]
    # Of rank 16 the risk lies between those of the ranks beside it that the figure has, where the shift has rank 8.
    fft, lora = (names["data"][name].sel(computed_by="theory", shift_rank=8) for name in ("fft_risk", "risk"))
    assert float(lora.sel(rank=8)) < own[0].get_ydata()[7] < float(fft)
