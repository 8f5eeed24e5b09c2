"""The explorer's page in a browser: it follows its sliders, its link, its buttons, and loads nothing from elsewhere."""

import csv
import io
import re
import signal
import subprocess
import sys
from urllib.parse import parse_qs, urlsplit

import numpy as np
import psutil
import pytest
from browser import PATIENCE, opened

from linreg_lora.explorer import curves, family
from linreg_lora.explorer.setting import Setting
from linreg_lora.explorer.training import against_time

pytestmark = pytest.mark.browser

#: A tiny problem, so that draws and curves take no time.
SETTING = Setting(n=30, dx=12, dy=10, rank=2, lora=2)
LINK = "/?" + "&".join(f"{name}={value}" for name, value in SETTING.query().items())
_SOURCE = "name => Array.from(Bokeh.documents[0].get_model_by_name(name).data.y)"
_HAS = "([name, count]) => window.Bokeh?.documents[0]?.get_model_by_name(name)?.data.y.length >= count"


@pytest.fixture(scope="module")
def server():
    """A server of its own, ended as people end it."""
    command = [sys.executable, "-c", "from linreg_lora.__main__ import run; run()"]
    command += ["explore", "--no-browser", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        found = re.match(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
        assert found, server.stderr and server.stderr.read()
        yield found[0], server.pid
        server.send_signal(signal.SIGINT)
        _, complaints = server.communicate(timeout=PATIENCE / 1000)
        assert (server.returncode, complaints) == (0, "")
    finally:
        server.kill()


@pytest.fixture(scope="module")
def page(browser, server):
    """The page with the tiny setting, opened once; its problems and requests are asserted at the end."""
    address, _ = server
    with opened(browser, address + LINK, viewport={"width": 1100, "height": 900}, accept_downloads=True) as found:
        found.page.wait_for_function(_HAS, arg=["lora", 3])
        yield found.page
        assert found.problems == []
        assert all(request.startswith((address, "data:", "blob:")) for request in found.requests), found.requests


def simulate(page):
    page.get_by_role("button", name="Simulate").click()


def y(page, name):
    return np.array(page.evaluate(_SOURCE, name), dtype=float)


def shows_theory_of(page, setting):
    """Wait until the curve is that of a setting."""
    risk = curves.against_rank(setting).curve.risk
    expected = risk[np.isfinite(risk)].tolist()
    script = f"expected => {{ const y = ({_SOURCE})('lora'); return y.length == expected.length && y.every((v, i) => Math.abs(v / expected[i] - 1) < 1e-9) }}"  # noqa: E501
    page.wait_for_function(script, arg=expected)


def test_the_link_gives_the_setting_and_the_page_its_theory(page):
    shows_theory_of(page, SETTING)
    page.wait_for_function("() => location.search.includes('lora')")
    assert {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()} == SETTING.query()


def test_the_page_shows_the_path_of_training(page):
    page.wait_for_function(_HAS, arg=["training-path", 3])
    found = against_time(SETTING).found
    assert found is not None
    np.testing.assert_allclose(y(page, "training-path"), found.risk, rtol=1e-12)
    page.get_by_text("trained to the end").wait_for()


def test_the_curve_follows_a_slider(page):
    handle = page.locator(".noUi-handle").first
    for step in range(1, 7):
        handle.press("ArrowRight")
        shows_theory_of(page, SETTING.replace(n=SETTING.n + step))
    page.wait_for_function("() => location.search.includes('n=36')")


def test_other_methods_by_box_and_by_text(page):
    """A curve and a level appear, with rows of a table and in the link; what is no method is one line beside them."""
    setting = SETTING.replace(n=36)
    page.get_by_label("frozen-a:r").check()
    others = page.get_by_label("others")
    others.fill("masc:3")
    others.press("Enter")
    page.get_by_text(re.compile(r"^method: expected one of .*, received masc:3; did you mean mask")).wait_for()
    others.fill("mask:3")
    others.press("Enter")
    page.wait_for_function(_HAS, arg=["methods-lines", 2])
    page.wait_for_function("() => location.search.includes('adapt=frozen-a%3Ar%2Cmask%3A3&pretrained_seed=0')")
    page.get_by_role("alert").wait_for(state="hidden")
    curve, level = family.along_ranks(setting, 0, "frozen-a:2").risk, family.member(setting, 0, "mask:3").risk
    page.wait_for_function(f"count => ({_SOURCE})('methods-lines')[0].length == count", arg=len(curve))
    lines = page.evaluate(_SOURCE, "methods-lines")
    np.testing.assert_allclose(lines[0], curve, rtol=1e-12)
    np.testing.assert_allclose(lines[1], [level, level], rtol=1e-12)
    cells = page.get_by_role("row").filter(has_text="mask:3").get_by_role("cell").all_inner_texts()
    assert cells == ["40", "40", f"{level:.4g}", "exact"]
    page.get_by_label("frozen-a:r").press("Space")
    others.fill("")
    others.press("Enter")
    page.wait_for_function(f"() => ({_SOURCE})('methods-lines').length == 0")
    page.wait_for_function("() => !location.search.includes('adapt')")
    page.get_by_role("table").wait_for(state="hidden")


def test_simulation_shows_progress_and_points_and_agrees(page):
    simulate(page)
    page.wait_for_function(_HAS, arg=["points", 3])
    page.get_by_text("256 draws; bars: two standard errors").wait_for()
    ratio = y(page, "points") / y(page, "lora")
    # 256 draws of a risk that varies by less than its mean: 5 standard errors are less than a third of it.
    assert np.all(np.abs(ratio - 1) < 1 / 3)
    assert ratio[0] == 1


def test_a_new_setting_removes_points_and_cancelling_stops(page, server):
    """The process that draws is held while Cancel is clicked: however slow this machine is, the draws are not over."""
    simulate(page)
    page.wait_for_function(_HAS, arg=["points", 3])
    page.get_by_text("256 draws; bars: two standard errors").wait_for()
    page.locator(".noUi-handle").first.press("ArrowLeft")
    shows_theory_of(page, SETTING.replace(n=35))
    page.wait_for_function(f"() => ({_SOURCE})('points').length == 0")  # sources arrive one after another
    drawing = psutil.Process(server[1]).children(recursive=True)
    try:
        for process in drawing:
            process.suspend()
        simulate(page)
        page.get_by_role("button", name="Cancel").click()
        page.get_by_text("cancelled: no draws").wait_for()
    finally:
        for process in drawing:
            process.resume()
    assert page.get_by_role("button", name="Simulate").is_enabled()
    simulate(page)
    page.get_by_text("256 draws; bars: two standard errors").wait_for()


@pytest.mark.parametrize("kind", ["PNG", "SVG", "CSV", "NC"])
def test_downloads(page, kind):
    with page.expect_download() as started:
        page.get_by_text(kind, exact=True).click()
    assert started.value.suggested_filename == f"linreg-lora-explorer.{kind.lower()}"
    content = started.value.path().read_bytes()
    assert content.startswith({"PNG": b"\x89PNG", "SVG": b"<?xml", "CSV": b"rank,", "NC": b"\x89HDF"}[kind])
    if kind == "CSV":
        rows = list(csv.DictReader(io.StringIO(content.decode())))
        assert [float(row["risk"]) for row in rows] == pytest.approx(y(page, "lora").tolist(), rel=1e-9)


def test_an_invalid_setting_is_one_line_as_on_the_command_line(browser, server):
    with opened(browser, f"{server[0]}/?n=0") as found:
        alert = found.page.get_by_role("alert")
        alert.wait_for()
        assert alert.inner_text() == "n: expected an integer >= 1, received 0"
        box = found.page.locator("input").first
        box.fill("-3")
        box.press("Enter")
        found.page.get_by_text("n: expected an integer >= 1, received -3").wait_for()
        box.fill("60")
        box.press("Enter")
        found.page.get_by_text("the mean is infinite").wait_for()
        alert.wait_for(state="hidden")
        found.page.get_by_role("button", name="Simulate").click()
        found.page.get_by_text("no draws: the mean is infinite").wait_for()
        assert found.problems == []


def test_boxes_spin_buttons_and_draws_have_accessible_names(page):
    controls = re.findall(r'- (textbox|combobox|checkbox|button)(?: "([^"]+)")?', page.locator("body").aria_snapshot())
    assert [kind for kind, name in controls if not name] == []
    assert [name for kind, name in controls if kind == "checkbox"] == list(family.COMMON)
    names = [name for kind, name in controls if kind not in ("button", "checkbox")]
    assert {"samples n", "rank of the shift", "draws", "outputs (y-columns)", "seed of A0, iid N(0, 1)"} <= set(names)
    without = {"draws", "singular values of the shift", "the map's file holds", "others"}
    numbers = [name for name in names if name not in without and "columns" not in name and "(key)" not in name]
    assert [name for _, name in controls].count("increase") == len(numbers)


def test_nothing_is_clipped_on_a_phone(browser, server):
    with opened(browser, server[0] + LINK, viewport={"width": 360, "height": 780}) as found:
        found.page.wait_for_function(_HAS, arg=["lora", 3])
        assert found.page.evaluate("() => document.documentElement.scrollWidth") <= 360
        for name in ("Simulate", "Cancel"):
            box = found.page.get_by_role("button", name=name).bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 360
