"""The user's own data in the explorer: files that a page sends, what is shown of them, and refusals in one line."""

import asyncio
import base64
import pickle
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from browser import PATIENCE, opened

import linreg_lora as ll
from linreg_lora.errors import InvalidInput
from linreg_lora.explorer import own_data
from linreg_lora.explorer.file_picker import FilePicker
from linreg_lora.explorer.own_data import LARGEST_UPLOAD, Request, Upload
from linreg_lora.explorer.own_panel import OwnPanel
from linreg_lora.explorer.own_view import OwnView
from linreg_lora.explorer.picture import position

N, DX, DY = 40, 9, 7


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """new.csv, old.csv, base.npy, new.npz, of one problem; and files that are none."""
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    base = rng.standard_normal((DY, DX))
    shift = np.outer(rng.standard_normal(DY), rng.standard_normal(DX))
    names = [*(f"x{i}" for i in range(DX)), *(f"y{i}" for i in range(DY))]
    for name, n, map_ in (("old", 300, base), ("new", N, base + shift)):
        x = rng.standard_normal((n, DX))
        y = x @ map_.T + rng.standard_normal((n, DY))
        pd.DataFrame(np.hstack([x, y]), columns=names).to_csv(folder / f"{name}.csv", index=False)
        np.savez(folder / f"{name}.npz", X=x, Y=y)
    np.save(folder / "base.npy", base)
    np.savez(folder / "objects.npz", X=np.array([{"a": 1}, None], dtype=object), Y=np.ones((2, 1)))
    with (folder / "huge.csv").open("wb") as file:
        file.truncate(LARGEST_UPLOAD + 1)
    return folder


def sent(path):
    return Upload(path.name, path.read_bytes())


def arrays(files, name="new"):
    with np.load(files / f"{name}.npz") as found:
        return found["X"], found["Y"]


def upload(files, data="new.csv", base=None, base_is_data=False, key="", x_columns="", y_columns="y*"):
    known = None if base is None else sent(files / base)
    return own_data.fit_uploads(sent(files / data), known, base_is_data, key, x_columns, y_columns)


# -- files to numbers ---------------------------------------------------------------------------------------------


def test_a_sent_table_is_advised_on_as_its_arrays_are(files):
    found = upload(files, base="base.npy")
    expected = ll.own_data.advise(*arrays(files), np.load(files / "base.npy"))
    np.testing.assert_allclose(found.advice.curve.error, expected.curve.error, rtol=1e-12)
    assert (found.advice.rank, found.advice.verdict) == (1, expected.verdict)
    assert found.interval == pytest.approx(expected.interval(own_data.LEVEL))
    assert found.name == "new.csv"
    again = own_data.fit(Request(files / "new.csv", base=files / "base.npy", y_columns="y*"))
    np.testing.assert_array_equal(again.advice.curve.error, found.advice.curve.error)


def test_archives_and_rows_of_the_map_are_read_too(files):
    archive, table = (
        upload(files, "new.npz", "old.npz", base_is_data=True, y_columns=""),
        upload(files, base="old.csv", base_is_data=True),
    )
    np.testing.assert_allclose(archive.advice.curve.error, table.advice.curve.error, rtol=1e-9)
    x, y = arrays(files, "old")
    centred = np.linalg.lstsq(np.column_stack([np.ones(len(x)), x]), y, rcond=None)[0]
    u, v = arrays(files)
    left = v - np.column_stack([np.ones(len(u)), u]) @ centred
    np.testing.assert_allclose(archive.advice.curve.error, ll.own_data.advise(u, left).curve.error, rtol=1e-9)


def test_what_was_found_passes_between_processes(files):
    found = upload(files)
    again = pickle.loads(pickle.dumps(found))
    assert again.sentences == found.sentences
    np.testing.assert_array_equal(again.advice.curve.error, found.advice.curve.error)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_columns": ""}, "y-columns: expected which columns are outputs, among x0, x1, "),
        ({"y_columns": "z*"}, "y-columns: expected columns among x0, x1, "),
        (
            {"data": "objects.npz", "y_columns": ""},
            "objects.npz: expected arrays of real numbers, received type object",
        ),
        ({"data": "base.npy", "y_columns": ""}, "data: expected a .csv, .tsv or .parquet table, or a .npz archive"),
        ({"data": "huge.csv"}, "huge.csv: expected 32 MiB at most here, received 32 MiB; linreg-lora fit and explore"),
        ({"base": "objects.npz", "key": "X"}, "objects.npz: expected arrays of real numbers, received type object"),
        ({"base": "new.npz"}, "new.npz: expected a key among X, Y, received several; name one"),
        ({"base": "new.npz", "key": "X"}, f"base: expected a matrix of {DY} outputs x {DX} inputs, received shape"),
    ],
)
def test_what_is_no_data_is_one_line(files, change, message):
    with pytest.raises(InvalidInput) as caught:
        upload(files, **change)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_nothing_is_refused_too():
    with pytest.raises(InvalidInput, match=r"data: expected a \.csv.* received nothing"):
        own_data.fit_uploads(None, None, False, "", "", "")


@pytest.mark.parametrize(
    "name", ["../../new.csv", "C:\\rows\\new.csv", "/etc/new.csv", "a" * 300 + ".csv", "n\0ew.csv"]
)
def test_a_name_leads_nowhere(files, tmp_path, monkeypatch, name):
    """Whatever a file is called, it is written into a folder that is gone afterwards."""
    monkeypatch.setattr(own_data.tempfile, "tempdir", str(tmp_path))
    content = (files / "new.csv").read_bytes()
    found = own_data.fit_uploads(Upload(name, content), None, False, "", "", "y*")
    assert found.advice.shape == (N, DX, DY)
    assert found.name in ("new.csv", "file.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_fit_of_minutes_is_refused_before_it_begins():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((900, 150))
    given = own_data.UserData(x, x, [], [], None)
    with pytest.raises(InvalidInput, match=r"data: expected min\(dx, dy\) up to 103 or so here, received 150; linreg"):
        own_data._require_quick(given)
    own_data._require_quick(given._replace(outputs=x[:, :100]))
    own_data._require_quick(given._replace(inputs=x[:50], outputs=x[:50]))


# -- what is said and drawn ---------------------------------------------------------------------------------------


def test_sentences_begin_with_the_verdict_and_doubt_the_theory_where_it_is_off(files, monkeypatch):
    found = own_data.fit(Request(files / "new.csv", files / "base.npy", y_columns="y*"))
    advice = found.advice
    assert found.sentences[0] == advice.verdict
    assert f"{advice.fft_ridge.error:.4g}" in found.sentences[2]
    for answer in (True, False, None):
        monkeypatch.setattr(type(advice), "is_described", lambda self, level, answer=answer: answer)
        assert any("does not describe these data" in line for line in found.sentences) == (answer is False)
    assert any("where no ridge is chosen" in line for line in found._replace(expected=None).sentences)


def test_the_plot_shows_the_curve_its_band_and_the_three_lines(files):
    x, y = arrays(files)
    found = own_data.OwnData("new.npz", advice := ll.own_data.advise(x, y, ridge=0.0), advice.expected_errors(), (1, 9))
    view = OwnView()
    view.show(found)
    curve = advice.curve
    np.testing.assert_array_equal(view.lora.data["x"], position(curve.ranks))
    np.testing.assert_array_equal(view.lora.data["y"], curve.error)
    np.testing.assert_array_equal(view.band.data["high"], curve.error + 2 * curve.stderr)
    np.testing.assert_array_equal(view.band.data["low"], curve.error - 2 * curve.stderr)
    np.testing.assert_array_equal(view.theory.data["y"], advice.expected_errors())
    for source, value in (
        (view.full, curve.error[-1]),
        (view.ridge, advice.fft_ridge.error),
        (view.none, curve.error[0]),
    ):
        assert source.data["y"] == [value, value]
    assert (view.chosen.data["r"], view.chosen.data["y"]) == ([advice.rank], [advice.error])
    low, high = found.limits
    assert low < np.min(curve.error)
    assert high > curve.error[0]
    assert len(view.plot.yaxis[0].ticker.ticks) >= 3
    view.show(found._replace(expected=None))
    assert view.theory.data["y"] == []


def test_limits_leave_out_what_is_far_above():
    """At n = dx + 2 the ridgeless error of full fine-tuning is far above all that matters."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((12, 10)), rng.standard_normal((12, 4))
    far = own_data.OwnData("", advice := ll.own_data.advise(x, y, ridge=0.0), None, (0, 1))
    none, ridge = advice.curve.error[0], advice.fft_ridge.error
    assert advice.curve.fft_error > far.limits[1] == pytest.approx(1.15 * 10 * max(none, ridge))
    nothing = own_data.OwnData("", ll.own_data.advise(x, np.zeros((12, 2))), None, (0, 0))
    assert nothing.limits == (0.1, 10.0)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_whatever_ends_a_fit_is_a_line_on_the_page():
    """A process that is gone, memory that is not there: the page says so, and another fit can begin."""

    def failing():
        raise MemoryError("no 5 GiB")

    with ThreadPoolExecutor(1) as executor:
        panel = OwnPanel(executor, lambda change: change(), None)
        panel._fit.disabled = True
        asyncio.run(panel._follow(failing))
        assert "data: no fit: MemoryError: no 5 GiB" in panel._message.object
    assert (panel._message.visible, panel._fit.disabled, panel.plots.visible) == (True, False, False)
    panel = OwnPanel(executor, lambda change: change(), None)
    asyncio.run(panel._follow(failing))
    assert "data: no fit: RuntimeError" in panel._message.object


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"name": "a.csv", "size": 2**30}, "a.csv: expected 32 MiB at most here, received 1.02e+03 MiB"),
        ({"name": "a.csv", "size": 3, "unreadable": True}, "a.csv: expected a file that the browser can read"),
        ({"name": "a.csv", "size": 3, "content": "?"}, "a.csv: expected its content in base64"),
    ],
)
def test_what_the_browser_could_not_send_is_one_line(found, message):
    with pytest.raises(InvalidInput) as caught:
        FilePicker(upload=found).sent()
    assert str(caught.value).startswith(message)


def test_a_sent_file_arrives_as_it_is():
    content = bytes(range(256))
    encoded = base64.b64encode(content).decode()
    assert FilePicker(upload={"name": "a", "size": 256, "content": encoded}).sent() == Upload("a", content)
    assert FilePicker().sent() is None


# -- command ------------------------------------------------------------------------------------------------------


def test_the_command_refuses_bad_data_before_it_serves(run, files):
    code, out, err = run("explore", "--no-browser", "--port=0", f"--data={files / 'new.csv'}")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("linreg-lora: y-columns: expected which columns are outputs, among x0")
    code, out, err = run("explore", "--no-browser", "--port=0", f"--base={files / 'base.npy'}")
    assert (code, out) == (2, "")
    assert err == "linreg-lora: data: expected a file, where base is given, received nothing\n"


# -- page ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(files):
    """A server that shows data from the start, ended as people end it."""
    command = [sys.executable, "-c", "from linreg_lora.__main__ import run; run()", "explore", "--no-browser"]
    command += ["--port=0"]
    command += [f"--data={files / 'new.csv'}", f"--base-data={files / 'old.csv'}", "--y-columns=y*"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        found = re.match(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
        assert found, server.stderr and server.stderr.read()
        yield found[0]
        server.send_signal(signal.SIGINT)
        _, complaints = server.communicate(timeout=PATIENCE / 1000)
        assert (server.returncode, complaints) == (0, f"linreg-lora: fitting {files / 'new.csv'}\n")
    finally:
        server.kill()


@pytest.fixture(scope="module")
def page(browser, server):
    with opened(browser, f"{server}/?n=30&dx=12&dy=10", viewport={"width": 1100, "height": 900}) as found:
        yield found.page
        assert found.problems == []
        assert all(request.startswith((server, "data:", "blob:")) for request in found.requests), found.requests


def shows(page, name, expected):
    script = """([name, expected]) => {
      const y = window.Bokeh?.documents[0]?.get_model_by_name(name)?.data.y
      return y && y.length == expected.length && Array.from(y).every((v, i) => Math.abs(v / expected[i] - 1) < 1e-9)
    }"""
    page.wait_for_function(script, arg=[name, np.asarray(expected, dtype=float).tolist()])


def fit(page):
    page.get_by_role("button", name="Fit", exact=True).click()


@pytest.mark.browser
def test_the_commands_data_are_there_from_the_start_and_can_be_removed(page, files):
    expected = own_data.fit(Request(files / "new.csv", base_data=files / "old.csv", y_columns="y*"))
    shows(page, "own-lora", expected.advice.curve.error)
    shows(page, "lora", ll.explorer.against_rank(ll.explorer.Setting(n=30, dx=12, dy=10)).curve.risk)
    for line in expected.sentences:
        page.get_by_text(line).wait_for()
    page.get_by_role("button", name="Remove").click()
    page.get_by_text(expected.sentences[0]).wait_for(state="hidden")
    page.get_by_role("button", name="Remove", disabled=True).wait_for()


@pytest.mark.browser
def test_files_are_fitted_and_refused_in_one_line(page, files):
    """One after the other, on one page that goes on; the last one is shown."""
    alert = page.get_by_role("alert")
    refusals = {
        "objects.npz": "objects.npz: expected arrays of real numbers, received type object; objects are not read",
        "huge.csv": "huge.csv: expected 32 MiB at most here, received 32 MiB",
        "new.csv": "y-columns: expected which columns are outputs, among x0",
    }
    for name, message in refusals.items():
        page.get_by_label("data (csv").set_input_files(files / name)
        fit(page)
        alert.get_by_text(message).wait_for()
        assert "\n" not in alert.inner_text()
    page.get_by_label("pretrained map").set_input_files(files / "base.npy")
    page.get_by_label("y-columns").fill("y*")
    fit(page)
    expected = ll.own_data.advise(*arrays(files), np.load(files / "base.npy"))
    shows(page, "own-lora", expected.curve.error)
    shows(page, "own-full", [expected.curve.fft_error] * 2)
    shows(page, "own-ridge", [expected.fft_ridge.error] * 2)
    shows(page, "own-none", [expected.curve.error[0]] * 2)
    page.get_by_text(expected.verdict).wait_for()
    alert.wait_for(state="hidden")
    with page.expect_download() as started:
        page.get_by_text("PNG of the fit").click()
    assert started.value.path().read_bytes().startswith(b"\x89PNG")


@pytest.mark.browser
def test_on_a_phone_nothing_of_the_data_is_clipped(browser, server):
    with opened(browser, server, viewport={"width": 360, "height": 780}) as found:
        found.page.get_by_text("Predicted test error").wait_for()
        assert found.page.evaluate("() => document.documentElement.scrollWidth") <= 360
