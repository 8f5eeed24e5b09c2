"""The report's page in a real browser: offline, by mouse and by keyboard, wide and narrow, light, dark and on paper."""

import itertools
from pathlib import Path

import pytest
from browser import eventually, opened
from report_sample import CLAIMS, sample

from linreg_lora import report_page
from linreg_lora.claims.file import load_claims
from linreg_lora.claims.vocabulary import Budget
from linreg_lora.report_page import formulas
from linreg_lora.report_page.page import render

pytestmark = pytest.mark.browser

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
#: The width of A4 within the margins of the style sheet, in CSS pixels.
PAPER = {"width": 688, "height": 1000}
CORRECTED, BOUND, ORDERING = "eq148-square-as-printed", "lemma4-spectral-norm", "lora-needs-a-low-rank-shift"
#: WCAG AA for text of any size.
CONTRAST = 4.5


@pytest.fixture(scope="module")
def sampled():
    return sample()


@pytest.fixture(scope="module")
def url(sampled, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(*sampled, seed=0, budget=Budget.CI), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def desktop(browser, url):
    with opened(browser, url, offline=True, viewport=DESKTOP) as tab:
        yield tab
        assert tab.problems == []


def shown(page):
    """Ids of the claims that are to be seen, in their order."""
    claims = page.locator("article.claim:visible")
    return claims.evaluate_all("claims => claims.map(claim => claim.dataset.id)")


def in_list(page):
    return [claim for claim in shown(page) if claim in CLAIMS]


def test_it_opens_offline_without_a_complaint_and_asks_for_nothing_else(browser, url, sampled):
    with opened(browser, url, offline=True, viewport=DESKTOP) as (page, problems, requests):
        assert in_list(page) == list(CLAIMS)
        assert len(shown(page)) == len(CLAIMS) + len(sampled[0].undecidable)
        assert page.title() == "LoRA against full fine-tuning: the claims, checked"
    assert problems == []
    assert requests == [url]


def test_its_policy_stops_what_would_ask_for_more(desktop):
    """Also the browser's: what the policy forbids is a complaint, so that the silence of the others says something."""
    desktop.page.evaluate("document.body.append(Object.assign(new Image(), {src: 'https://example.org/x.png'}))")
    eventually(desktop.page, lambda: any("Content Security Policy" in text for text in desktop.problems), True)
    desktop.problems.clear()


def test_every_figure_and_every_formula_is_drawn(desktop, sampled):
    figures = desktop.page.locator("figure > svg[role=img]")
    assert figures.count() == len(CLAIMS)
    for i in range(figures.count()):
        box = figures.nth(i).bounding_box()
        assert box["width"] > 250
        assert box["height"] > 60
        assert len(figures.nth(i).get_attribute("aria-label")) > 40
        assert figures.nth(i).locator("circle, path").count() >= 2
    sizes = desktop.page.locator("math").evaluate_all(
        "all => all.map(math => [math.namespaceURI, math.getBoundingClientRect().height])"
    )
    assert len(sizes) >= len(CLAIMS) + len(sampled[0].undecidable)
    assert all(space == "http://www.w3.org/1998/Math/MathML" and height > 10 for space, height in sizes)


# -- filters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("Verdict", "holds-with-correction", [CORRECTED]),
        ("Verdict", "undecidable-here", []),
        ("Kind", "upper_bound", [BOUND]),
        ("Source", "arXiv 2505.22355", []),
        ("Source", "arXiv 2605.19018", list(CLAIMS)),
    ],
)
def test_a_choice_filters_and_stays_in_the_address(browser, url, field, value, expected):
    with opened(browser, url, offline=True, viewport=DESKTOP) as (page, problems, _):
        page.get_by_label(field, exact=True).select_option(value)
        eventually(page, lambda: in_list(page), expected)
        seen, address = shown(page), page.url
        assert seen
        assert page.locator("#shown").text_content().startswith(f"{len(seen)} of ")
        assert f"{field.lower()}=" in address
        page.get_by_role("button", name="Clear", exact=True).click()
        eventually(page, lambda: in_list(page), list(CLAIMS))
        eventually(page, lambda: page.url, url)
        page.goto("about:blank")
        page.goto(address)
        eventually(page, lambda: shown(page), seen)
        assert page.get_by_label(field, exact=True).input_value() == value
    assert problems == []


def test_words_filter_and_where_nothing_matches_it_says_so(desktop):
    page = desktop.page
    page.get_by_label("Search").fill("148 LEMMA")
    eventually(page, lambda: shown(page), ["lemma2-square", CORRECTED])
    assert not page.locator("#none").is_visible()
    page.get_by_label("Search").fill("no such claim")
    eventually(page, lambda: shown(page), [])
    page.get_by_role("button", name="Clear the filters").click()
    eventually(page, lambda: in_list(page), list(CLAIMS))


def test_claims_are_sorted(desktop, sampled):
    page = desktop.page
    verdicts = {judgement.claim.id: str(judgement.verdict) for judgement in sampled[1]}
    page.get_by_label("Sort by").select_option("id")
    eventually(page, lambda: in_list(page), sorted(CLAIMS))
    page.get_by_label("Sort by").select_option("slack")
    eventually(page, lambda: in_list(page)[0], BOUND)
    page.get_by_label("Sort by").select_option("verdict")
    ordered = ["holds", "holds", "holds", "holds", "holds-with-correction", "holds-under"]
    eventually(page, lambda: [verdicts[claim] for claim in in_list(page)], ordered)
    page.get_by_label("Sort by").select_option("")
    eventually(page, lambda: in_list(page), list(CLAIMS))


def test_a_link_to_a_claim_opens_it_also_where_a_filter_hides_it(desktop):
    page = desktop.page
    page.locator(".tile", has_text="holds-with-correction").click()
    eventually(page, lambda: in_list(page), [CORRECTED])
    page.locator(f"#claim-{CORRECTED} summary").click()
    page.locator(f"#claim-{CORRECTED} .assumptions a").click()
    eventually(page, lambda: page.locator("#claim-lemma2-square details.depth[open]").is_visible(), True)


def test_without_scripts_everything_is_there_but_the_filters(browser, url):
    with opened(browser, url, offline=True, viewport=DESKTOP, java_script_enabled=False) as (page, _, _):
        eventually(page, lambda: in_list(page), list(CLAIMS))
        assert not page.locator("#filters").is_visible()


# -- for everybody ------------------------------------------------------------------------------------------------


def test_the_keyboard_reaches_and_works_everything(desktop):
    page = desktop.page
    focused = "document.activeElement"
    page.keyboard.press("Tab")
    assert page.evaluate(f"{focused}.textContent") == "Skip to the claims"
    assert page.evaluate(f"{focused}.getBoundingClientRect().top") >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate(f"{focused}.name") == "q"
    page.keyboard.type("spectral")
    eventually(page, lambda: in_list(page), [BOUND])
    reached = []
    while not reached or reached[-1] != "SUMMARY":
        page.keyboard.press("Tab")
        reached.append(page.evaluate(f"{focused}.tagName"))
        outline = page.evaluate(f"getComputedStyle({focused}).outlineStyle + getComputedStyle({focused}).outlineWidth")
        assert outline == "solid3px", reached
        assert len(reached) < 15
    assert reached.count("SELECT") == 4
    page.keyboard.press("Enter")
    assert page.locator(f"#claim-{BOUND} table").first.is_visible()


#: The least contrast of any text against what is behind it, and which.
LEAST_CONTRAST = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = numbers(colour).slice(0, 3).map((v) => {
      const s = v / 255;
      return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      const alpha = numbers(colour)[3] ?? 1;
      if (alpha === 1) return colour;
      if (alpha > 0) throw new Error(`half transparent: ${e.className}`);
    }
    return "rgb(255, 255, 255)";
  };
  let least = [Infinity, ""], texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest("script")) continue;
    const style = getComputedStyle(element);
    const ink = element.closest("svg") ? style.fill : style.color;
    const [a, b] = [luminance(ink), luminance(ground(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    texts += 1;
    if (ratio < least[0]) least = [ratio, `${walker.currentNode.data} in ${element.outerHTML.slice(0, 80)}`];
  }
  return [...least, texts];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_ground(browser, url, scheme):
    with opened(browser, url, viewport=DESKTOP, color_scheme=scheme) as (page, problems, _):
        grounds = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
        least, where, texts = page.evaluate(LEAST_CONTRAST)
        assert texts > 300
        assert least >= CONTRAST, where
        bright = sum(map(int, grounds.removeprefix("rgb(").removesuffix(")").split(","))) > 3 * 128
        assert bright == (scheme == "light")
    assert problems == []


def test_pictures_have_words_and_controls_have_labels(desktop):
    page = desktop.page
    assert page.locator("svg[role=img]:not([aria-label]), img:not([alt])").count() == 0
    unlabelled = "controls => controls.filter(c => !c.labels.length).length"
    assert page.locator("input, select").evaluate_all(unlabelled) == 0
    assert page.locator("button").evaluate_all("all => all.filter(b => !b.textContent.trim()).length") == 0
    levels = page.locator("h1, h2, h3, h4").evaluate_all(
        "all => all.filter(h => h.checkVisibility()).map(h => +h.tagName[1])"
    )
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


# -- layout -------------------------------------------------------------------------------------------------------

#: Labels and markers of figures that leave their figure, or that lie on one another.
MISPLACED = """() => [...document.querySelectorAll("figure > svg")].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  const parts = [...svg.querySelectorAll("text, circle, path")];
  const boxes = parts.map((part) => [part.textContent || part.tagName, part.getBoundingClientRect()]);
  const outside = boxes.filter(([, b]) =>
    b.left < frame.left - 1 || b.right > frame.right + 1 || b.bottom > frame.bottom + 1);
  const meeting = boxes.filter(([, a], i) => boxes.some(([, b], j) =>
    j > i && a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom));
  return [...outside, ...meeting].map(([text]) => text);
})"""
#: Elements that are wider than the box they are in, but for those that may scroll.
CLIPPED = """() => [...document.querySelectorAll("main *, header *")].filter((e) =>
  e.checkVisibility() && !e.closest("svg, math, .scroll, select, .skip, input") && e.scrollWidth > e.clientWidth + 1
  && getComputedStyle(e).display !== "inline").map((e) => e.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE, {"width": 320, "height": 700}], ids=["desktop", "phone", "small"])
def test_nothing_is_clipped_and_nothing_overlaps(browser, url, viewport):
    with opened(browser, url, viewport=viewport) as (page, _, _):
        page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        assert page.evaluate(CLIPPED) == []
        assert page.evaluate(MISPLACED) == []


def test_no_statement_of_the_claims_is_wider_than_a_phone(browser, tmp_path):
    """They break where their lines may; the page of the sample has but few of them."""
    file, folder = load_claims(), Path(report_page.__file__).parent
    boxes = "".join(
        f'<article class="claim" id="{c.id}">'
        f'<div class="formula scroll">{"".join(formulas.lines(c.statement))}</div></article>'
        for c in (*file.claims, *file.undecidable)
    )
    page_path = tmp_path / "statements.html"
    page_path.write_text(
        f"<!DOCTYPE html><meta charset=utf-8><style>{(folder / 'page.css').read_text()}</style><main>{boxes}</main>"
    )
    wider = "all => all.filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.parentElement.id)"
    with opened(browser, page_path.as_uri(), viewport=PHONE) as (page, _, _):
        assert page.locator(".formula").count() == len(file.claims) + len(file.undecidable)
        assert page.locator(".formula").evaluate_all(wider) == []
    with opened(browser, page_path.as_uri(), viewport={"width": 200, "height": 700}) as (page, _, _):
        assert len(page.locator(".formula").evaluate_all(wider)) > 10


def test_a_formula_wider_than_the_screen_scrolls_in_its_box_by_keyboard_too(browser, url):
    with opened(browser, url, viewport={"width": 240, "height": 700}) as (page, _, _):
        widths = "all => all.map(box => [box.scrollWidth > box.clientWidth + 1, box.tabIndex === 0])"
        boxes = page.locator(".formula").evaluate_all(widths)
        assert any(wide for wide, _ in boxes)
        assert all(wide == reachable for wide, reachable in boxes)
        wide = page.locator(".formula[tabindex]").first
        wide.focus()
        page.keyboard.press("ArrowRight")
        eventually(page, lambda: page.evaluate("document.activeElement.scrollLeft > 0"), True)


def test_on_paper_everything_is_open_and_inside_and_the_controls_are_gone(browser, url):
    with opened(browser, url, viewport=PAPER, color_scheme="dark") as (page, problems, _):
        page.emulate_media(media="print")
        assert not page.locator("#filters").is_visible()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        tables = page.locator("table")
        assert tables.count() >= len(CLAIMS)
        assert tables.evaluate_all("all => all.filter(table => !table.checkVisibility()).length") == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= PAPER["width"]
        beyond = "(all, width) => all.filter(e => e.getBoundingClientRect().right > width).length"
        assert page.locator("math, table, svg").evaluate_all(beyond, PAPER["width"]) == 0
        assert page.evaluate(MISPLACED) == []
        assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
        assert page.locator("details[open]").count() == 0
    assert problems == []
