"""`linreg-lora report`: formulas, figures, escaping, the policy of the page, and the command."""

import base64
import dataclasses
import hashlib
import json
import os
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from bad_input import run_cli
from report_sample import CLAIMS, HOSTILE, PROOFS, sample

from linreg_lora.claims import check as checking
from linreg_lora.claims import judge as judging
from linreg_lora.claims import kept
from linreg_lora.claims.collection import collect_claims
from linreg_lora.claims.file import load_claims
from linreg_lora.claims.judge import Judgement
from linreg_lora.claims.show import pages, report
from linreg_lora.claims.sources import Paper
from linreg_lora.claims.vocabulary import Budget, Status, Verdict
from linreg_lora.errors import InvalidInput
from linreg_lora.proofs import steps
from linreg_lora.report_page import by_paper, formulas, strips
from linreg_lora.report_page.page import _numbers, render


@pytest.fixture(scope="module")
def judged():
    return sample()


@pytest.fixture(scope="module")
def page(judged):
    return render(*judged, seed=3, budget=Budget.CI)


# -- formulas -----------------------------------------------------------------------------------------------------


def test_every_statement_of_the_claims_becomes_mathml():
    file = load_claims()
    for claim in (*file.claims, *file.undecidable):
        for line in formulas.lines(claim.statement):
            pieces = list(ET.fromstring(line))
            assert {piece.tag for piece in pieces} == {"math"}, f"{claim.id}: {line}"
            assert "\\" not in line, f"{claim.id}: {line}"
            assert all("".join(piece.itertext()).strip() for piece in pieces)


def test_lines_break_where_the_author_broke_them_unless_braces_are_open():
    whole, rest = formulas.lines("a \\le b\n  + c")
    assert "≤" in "".join(ET.fromstring(whole).itertext())
    assert ET.fromstring(rest).find(".//mo").get("form") == "infix"
    assert len(formulas.lines("\\frac{a\n + b}{c}\n= d")) == 2
    assert len(formulas.lines("\\left( a\n + b \\right)")) == 1


@pytest.mark.parametrize(
    ("latex", "pieces"),
    [
        (r"\mathrm{risk}(D) \le a + b", ["risk(D)", "≤a+b"]),
        (r"x \ge \frac{a + b}{c + d} - \sqrt{e}", ["x", "≥a+bc+d", "−e"]),
        (r"x = \bigl( a + b + c + d + e \bigr)^2 + |a - b|^2 - c", ["x", "=(a+b+c+d+e)2", "+|a−b|2", "−c"]),
        (r"f = a, \qquad n > d_x", ["f", "=a,", "n>dx"]),
        (r"x = -\bigl( a + b + c \bigr)", ["x", "=−(a+b+c)"]),
        (r"f(x) + g(x, y) + |a - b| - h", ["f(x)", "+g(x,y)", "+|a−b|", "−h"]),
        (r"\lambda_{\max}(S) \times \mathbb{E} \|x\|", ["λmax(S)", "×𝔼‖x‖"]),
        (r"x \text{ is the same for } (a \text{ and } b)", ["x", "is", "the", "same", "for", "(aandb)"]),
    ],
)
def test_a_line_may_be_broken_before_relations_and_signs_outside_of_parentheses(latex, pieces):
    (line,) = formulas.lines(latex)
    found = list(ET.fromstring(line))
    assert [re.sub(r"\s", "", "".join(piece.itertext())) for piece in found] == pieces
    for piece in found[1:]:
        first = piece[0][0]
        assert first.get("form") == "infix" or first.text not in formulas._RELATIONS | formulas._SIGNS


@pytest.mark.parametrize("latex", [r"\nonsense x", r"\frac{a}", r"\left( a", "}{", "a & <b>"])
def test_what_is_no_latex_is_shown_as_it_is(latex):
    (shown,) = formulas.lines(latex)
    if "<math" not in shown:
        assert ET.fromstring(shown).tag == "code"
        assert ET.fromstring(shown).text == latex
    assert "\\" not in shown or shown.startswith("<code>")
    with pytest.raises(ValueError, match="nonsense"):
        formulas.mathml(r"\nonsense x")


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\arg\min_x f", "argminxf"),
        (r"\bigl\| x \bigr\|_F", "‖x‖F"),
        (r"g = |n - d|^{-1}", "g=|n−d|−1"),
        (r"\operatorname*{arg\,min} f", "argminf"),
        (r"a \leqslant b", "a≤b"),
        (r"\Bigl\{ x \Bigr\}", "{x}"),
        (r"\Bigl\lceil x \Bigr\rceil", "⌈x⌉"),
    ],
)
def test_what_the_converter_does_not_know_is_said_otherwise(latex, text):
    assert re.sub(r"\s", "", "".join(ET.fromstring(formulas.mathml(latex)).itertext())) == text


def test_bars_have_the_same_space_on_both_sides():
    for latex in (r"g = |n - d|^{-1}", r"a + \|x\|_F", r"\bigl| x \bigr|_1"):
        bars = re.findall(r"<mo([^>]*)>[|‖]</mo>", formulas.mathml(latex))
        assert len(bars) == 2
        assert all('lspace="0"' in bar and 'rspace="0"' in bar for bar in bars)
        assert len({re.findall(r'stretchy="\w+"', bar)[0] for bar in bars}) == 1, "both grow, or neither"


def test_a_negative_space_is_not_where_a_line_is_broken():
    (line,) = formulas.lines(r"a \! b \quad c")
    assert line.count("<math") == 2


def test_names_are_words_capital_greek_is_upright_and_tall_fences_close_over_their_content():
    assert "risk" in [e.text for e in ET.fromstring(formulas.mathml(r"\mathrm{risk}(D)")).iter("mi")]
    greek = {e.text: e.get("mathvariant") for e in ET.fromstring(formulas.mathml(r"\Sigma \sigma")).iter("mi")}
    assert greek == {"Σ": "normal", "σ": None}
    power = ET.fromstring(formulas.mathml(r"\bigl( a + b \bigr)^2 + c")).find(".//msup")
    assert "".join(power.itertext()) == "(a+b)2"


def test_only_claims_that_do_not_fail_head_their_numbers_with_power():
    """Of a claim that fails it would be the probability of accepting what was rejected."""
    _, judgements, _ = sample()
    failing = dataclasses.replace(judgements[0], verdict=Verdict.FAILS)
    names, fewer = (list(dict(_numbers(judgement))) for judgement in (judgements[0], failing))
    assert [name for name in names if name not in fewer] == ["power", "detects"]
    assert list(report.verdict_table([failing]).columns[6].cells) == ["-"]


# -- figures ------------------------------------------------------------------------------------------------------


def place(text):
    return float(text.removesuffix("%"))


def rows_of(svg):
    """Of every row of a figure: its role, where its marker is, and from where to where its bar reaches."""
    root = ET.fromstring(svg)
    markers = {float(e.get("y")): (e[0].get("class"), place(e.get("x"))) for e in root.findall("svg")}
    bars = {
        float(e.get("y")) + 5: (place(e.get("x")), place(e.get("x")) + place(e.get("width")))
        for e in root.findall("rect")
    }
    return [(*markers[y], *bars[y]) for y in sorted(markers)]


def test_a_marker_is_on_its_bar_where_the_verdict_says_so_and_beside_it_otherwise(judged):
    """The bars and markers are placed by the numbers, the roles by the verdicts of the judge."""
    seen = set()
    for judgement in judged[1]:
        for role, marker, low, high in rows_of(strips.figure(judgement).svg):
            seen.add(role)
            assert 0 <= low < high <= 100
            assert 0 <= marker <= 100
            assert (low - 0.02 <= marker <= high + 0.02) == (role == "own"), (judgement.claim.id, role)
    assert seen == {"own", "against", "rival"}


def test_a_figure_says_in_words_what_it_shows(judged):
    for judgement in judged[1]:
        said = ET.fromstring(strips.figure(judgement).svg).get("aria-label")
        assert len(said) > 40
        for comparison in judgement.comparisons:
            assert f"{pages.where(comparison)}: " in said
        for rival in judgement.rivals:
            assert f"rival {rival.prediction}: " in said
        assert said.count("rejected") == len(judgement.rivals)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 0.0, 1e300, -1e300])
def test_numbers_of_every_size_are_drawn_inside(judged, value):
    for judgement in judged[1]:
        comparisons = [
            dataclasses.replace(c, numbers={**dict.fromkeys(c.numbers, value), "trials": 2})
            for c in judgement.comparisons
        ]
        drawn = strips.figure(dataclasses.replace(judgement, comparisons=comparisons)).svg
        places = [place(text) for text in re.findall(r' (?:x|x1|x2)="([^"]*)"', drawn)]
        assert all(0 <= at <= 100 for at in places)


def test_compact_numbers():
    shown = [strips.compact(value) for value in (5.394e-15, -0.3012, 12.0, 203600.0, 3864.5, 2e7)]
    assert shown == ["5.39e−15", "−0.301", "12", "204,000", "3,860", "2e+07"]


# -- the page -----------------------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """Every element's tag and attributes, the text within, and whether tags nest."""

    VOID = ("meta", "input", "br", "link", "img")

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" not in self.open and "style" not in self.open:
            self.text.append(data)


def test_the_page_is_well_formed_and_ids_are_unique(page):
    elements = Elements(page)
    assert elements.open == []
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for tag, attributes in elements.found if tag == "a"]
    assert all(link.startswith("#") for link in links)
    assert {link[1:] for link in links if "=" not in link} <= set(ids)


def test_everything_known_of_a_claim_is_there(page, judged):
    file, judgements, proofs = judged
    text = re.sub(r"\s+", " ", " ".join(Elements(page).text))
    for judgement in judgements:
        claim = judgement.claim
        expected = [claim.id, claim.title, *(value for name, value in pages.assumptions(claim) if name != "kind")]
        for _, rows in (pages.evidence(claim, judgement.comparisons), pages.rivals(judgement)):
            expected += [str(cell) for row in rows for cell in row]
        for part in expected:
            assert part in text, (claim.id, part)
    for proof in proofs:
        for step in proof.steps:
            assert re.sub(r"\s+", " ", step.step.statement) in text
    for slip in file.slips:
        assert slip.consequence in text
    assert all(entry.why in text for entry in file.undecidable)
    assert "\\" not in text


def test_what_a_claims_file_says_is_text_and_nothing_else(page):
    elements = Elements(page)
    assert HOSTILE in "".join(elements.text)
    assert HOSTILE not in page
    assert sum(tag == "script" for tag, _ in elements.found) == 1
    assert not [a for _, attributes in elements.found for a in attributes if a.startswith("on") or a == "style"]


def test_the_policy_forbids_the_network_and_admits_the_style_and_the_script_that_are_there(page):
    ((_, meta),) = [e for e in Elements(page).found if e[1].get("http-equiv") == "Content-Security-Policy"]
    policy = dict(part.strip().split(" ", 1) for part in meta["content"].split(";"))
    assert policy["default-src"] == "'none'"
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy[f"{tag}-src"] == f"'sha256-{digest}'"
        assert not re.search(r"https?:|url\(|@import", content)
    asking = {"src", "srcset", "data", "action", "poster", "background"}
    assert not [found for found in Elements(page).found if asking & set(found[1])]


def test_a_folder_has_a_page_a_paper_and_an_index_that_leads_to_them(judged):
    file, judgements, proofs = judged
    folder = by_paper.render_all(file, judgements, proofs, seed=3, budget=Budget.CI)
    assert set(folder) == {"index.html", "arxiv-2605.19018.html", "arxiv-2505.22355.html"}
    ids = {}
    for name, text in folder.items():
        elements = Elements(text)
        assert elements.open == []
        ids[name] = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
        assert len(ids[name]) == len(set(ids[name]))
    for name, text in folder.items():
        for tag, attributes in Elements(text).found:
            if tag == "a" and "=" not in attributes["href"]:
                target, _, anchor = attributes["href"].partition("#")
                assert not anchor or anchor in ids[target or name], (name, attributes)
    assert sum(text.count('<article class="claim"') for text in folder.values()) == len(judgements) + len(
        file.undecidable
    )
    assert "Status: summary. Its abstract and summaries" in " ".join(Elements(folder["arxiv-2505.22355.html"]).text)
    index = " ".join(Elements(folder["index.html"]).text)
    assert all(entry.why in index for entry in file.undecidable)
    assert HOSTILE not in "".join(folder.values())
    assert '<a href="arxiv-2505.22355.html">arXiv 2505.22355</a>' in folder["index.html"]


def test_pages_of_papers_of_one_name_in_ascii_are_two():
    named = by_paper._names([Paper(paper=name, status="own") for name in ("index", "Ä", "Ö", "a/b", "a b")])
    assert list(named.values()) == ["index-2.html", "paper.html", "paper-2.html", "a-b.html", "a-b-2.html"]


def test_what_fails_of_a_source_that_was_not_read_is_this_reading(judged):
    file, judgements, proofs = judged
    source = judgements[0].claim.source.model_copy(update={"status": Status.SUMMARY})
    claim = judgements[0].claim.model_copy(update={"source": source})
    shown = [
        render(
            file, [dataclasses.replace(judgements[0], claim=c, verdict=Verdict.FAILS)], proofs, seed=0, budget=Budget.CI
        )
        for c in (claim, claim.model_copy(update={"source": source.model_copy(update={"status": Status.READ})}))
    ]
    assert ["</span> this reading fails</span>" in text for text in shown] == [True, False]


def test_equal_judgements_give_equal_bytes_however_long_they_took(page, judged):
    file, judgements, proofs = judged
    slower = [dataclasses.replace(judgement, seconds=99.0) for judgement in judgements]
    assert render(file, slower, proofs, seed=3, budget=Budget.CI) == page
    assert render(file, slower, proofs, seed=4, budget=Budget.CI) != page


def test_a_verdict_that_is_not_the_expected_one_is_said_aloud(judged):
    file, judgements, proofs = judged
    assert "Not as expected." not in render(file, judgements, proofs, seed=0, budget=Budget.CI)
    wrong = dataclasses.replace(judgements[0], verdict=Verdict.FAILS, reason="planted reason")
    shown = render(file, [wrong, *judgements[1:]], proofs, seed=0, budget=Budget.CI)
    assert shown.count("Not as expected.") == 1
    assert "planted reason" in shown


# -- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch, tmp_path, judged):
    """A claims file, judged beforehand, and one proof; returns the words of the command, and where the page will be."""
    file, judgements, _ = judged
    claims, out = tmp_path / "claims.yaml", tmp_path / "report.html"
    claims.write_text(json.dumps(file.model_dump(mode="json", exclude_defaults=True)))
    known = {judgement.claim.id: judgement for judgement in judgements}
    monkeypatch.setattr(
        "linreg_lora.claims.judge.judge_claim", lambda claim, seed, correction=None, **_: known[claim.id]
    )
    monkeypatch.setattr(steps, "ids", lambda: list(PROOFS))
    return ["report", "--out", str(out), "--claims", str(claims), "--seed", "3", "--workers", "1"], out, known


def test_the_command_writes_the_page_and_prints_its_path(small, page):
    words, out, _ = small
    assert run_cli(*words) == (0, f"{out}\n", "")
    assert out.read_text(encoding="utf-8") == page
    assert [path.name for path in out.parent.iterdir() if path.suffix != ".yaml"] == ["report.html"]


def test_the_page_is_written_and_the_code_is_1_when_a_claim_is_not_as_expected(small):
    words, out, known = small
    known[CLAIMS[0]] = dataclasses.replace(known[CLAIMS[0]], verdict=Verdict.INCONCLUSIVE)
    assert run_cli(*words)[0] == 1
    assert "Not as expected." in out.read_text(encoding="utf-8")


def test_the_code_is_1_when_a_step_of_a_proof_fails(small, monkeypatch):
    words, out, _ = small
    run = steps.run

    def with_a_wrong_step(proof):
        wrong = steps.Step("planted", "1 = 2", lambda: 1)
        return run(dataclasses.replace(proof, steps=(wrong,)))

    monkeypatch.setattr(steps, "run", with_a_wrong_step)
    assert run_cli(*words)[0] == 1
    assert "difference 1" in out.read_text(encoding="utf-8")


def test_the_budget_is_that_of_check(small, monkeypatch):
    words, out, known = small
    draws = []

    def judge(claim, seed, correction=None, **_) -> Judgement:
        draws.append(claim.experiment.trials / known[claim.id].claim.experiment.trials)
        return known[claim.id]

    monkeypatch.setattr("linreg_lora.claims.judge.judge_claim", judge)
    assert run_cli(*words, "--budget", "thorough")[0] == 0
    assert set(draws) == {checking._MORE_DRAWS}
    assert "3, thorough" in out.read_text(encoding="utf-8")


def test_the_claims_file_is_not_overwritten(small):
    words, out, _ = small
    claims = words[words.index("--claims") + 1]
    before = out.with_name("claims.yaml").read_bytes()
    code, printed, complaint = run_cli("report", "--claims", claims, "--out", claims)
    assert (code, printed) == (2, "")
    assert "out: expected the path of a file, other than the claims file" in complaint
    assert out.with_name("claims.yaml").read_bytes() == before


def test_the_command_writes_a_folder_by_paper_completely_or_not_at_all(small, monkeypatch):
    words, out, _ = small
    assert run_cli(*words, "--by-paper") == (0, f"{out}\n", "")
    assert {path.name for path in out.iterdir()} == {"index.html", "arxiv-2605.19018.html", "arxiv-2505.22355.html"}
    code, _, complaint = run_cli(*words, "--by-paper")
    assert code == 2
    assert "out: expected the path of a folder that is not there yet" in complaint
    assert run_cli(*words)[0] == 2

    def no_space(path, *_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", no_space)
    other = out.with_name("other")
    words[words.index("--out") + 1] = str(other)
    code, printed, complaint = run_cli(*words, "--by-paper")
    assert (code, printed, complaint.count("\n")) == (2, "", 1)
    assert [path.name for path in out.parent.iterdir() if path.name.startswith((".", "other"))] == []


# -- what is kept -------------------------------------------------------------------------------------------------


@pytest.fixture
def counted(small, monkeypatch, tmp_path):
    """As `small`, with a folder where verdicts are kept, a package of one file, and the ids that are judged."""
    words, out, known = small
    package, asked = tmp_path / "package", []
    package.mkdir()
    (package / "module.py").write_text("one = 1\n")
    monkeypatch.setattr(kept, "folder", lambda: tmp_path / "kept")
    monkeypatch.setattr(kept, "_PACKAGE", package)

    def judge(claim, seed, correction=None, **_):
        asked.append(claim.id)
        return known[claim.id]

    monkeypatch.setattr("linreg_lora.claims.judge.judge_claim", judge)
    return words, out, package / "module.py", asked


def checked(words):
    """The `check` of a report's words."""
    return ["check", *words[words.index("--claims") :]]


def test_a_report_after_a_check_takes_its_verdicts_over(counted, page, monkeypatch):
    words, out, _, asked = counted
    assert run_cli(*checked(words))[0] == 0
    assert asked == list(CLAIMS)
    code, printed, told = run_cli(*words)
    assert (code, printed, asked) == (0, f"{out}\n", list(CLAIMS))
    assert told.startswith(f"linreg-lora: {len(CLAIMS)} of {len(CLAIMS)} verdicts and 0 of {len(PROOFS)} proofs are")
    assert "--fresh" in told
    assert out.read_text(encoding="utf-8") == page
    monkeypatch.setattr(steps, "run", lambda proof: pytest.fail("a proof is verified again"))
    assert f" and {len(PROOFS)} of {len(PROOFS)} proofs are" in run_cli(*words)[2]
    assert out.read_text(encoding="utf-8") == page


@pytest.mark.parametrize("every", [0.0, 1e9], ids=["seconds ago", "at the end"])
def test_what_was_judged_before_a_command_was_stopped_is_kept(counted, monkeypatch, every):
    words, _, _, asked = counted
    judge = judging.judge_claim

    def stopped(claim, *rest, **more):
        if claim.id == CLAIMS[-1] and len(asked) < len(CLAIMS):
            raise KeyboardInterrupt
        return judge(claim, *rest, **more)

    monkeypatch.setattr(judging, "judge_claim", stopped)
    monkeypatch.setattr(kept, "_KEPT_EVERY", every)
    assert run_cli(*checked(words))[0] == 2
    assert asked == list(CLAIMS[:-1])
    monkeypatch.setattr(judging, "judge_claim", judge)
    assert run_cli(*checked(words), "--resume")[0] == 0
    assert asked == list(CLAIMS)
    assert run_cli(*checked(words))[0] == 0
    assert asked == [*CLAIMS, *CLAIMS]


def test_what_is_fresh_is_judged_and_kept_again(counted, page):
    words, out, _, asked = counted
    run_cli(*words)
    assert run_cli(*words, "--fresh") == (0, f"{out}\n", "")
    assert asked == [*CLAIMS, *CLAIMS]
    assert out.read_text(encoding="utf-8") == page


@pytest.mark.parametrize(
    "changed", ["", "code", "new code", "file", "seed", "budget", "near", "kept", "plug-in", "library"]
)
def test_a_verdict_is_not_found_when_a_byte_of_what_it_depends_on_changes(counted, monkeypatch, changed):
    words, out, module, _ = counted
    assert run_cli(*checked(words), "--format=json")[0] == 0
    claims = out.with_name("claims.yaml")
    if changed == "code":
        module.write_text("one = 2\n")
    elif changed == "new code":
        module.with_name("new.yaml").touch()
    elif changed == "file":
        claims.write_bytes(claims.read_bytes() + b"\n")
    elif changed == "kept":
        (path,) = kept.folder().iterdir()
        path.write_text(path.read_text().replace("holds", "fails", 1))
    elif changed == "plug-in":
        monkeypatch.setattr("linreg_lora.claims.plugins.loaded_files", lambda: {"mine.py": "mine"})
    elif changed == "library":
        monkeypatch.setattr(kept, "_versions", lambda: ("numpy 1.0",))
    budget = Budget.THOROUGH if changed == "budget" else Budget.CI
    parts, file = collect_claims(claims)
    found = kept.KeptVerdicts(parts, 4 if changed == "seed" else 3, budget)
    assert [found.find(claim, changed != "near") is not None for claim in file.claims] == [not changed] * len(CLAIMS)


def test_a_report_judges_again_what_a_changed_byte_touches(counted, page):
    words, out, module, asked = counted
    run_cli(*words)
    module.write_text("one = 2\n")
    assert run_cli(*words) == (0, f"{out}\n", "")
    assert asked == [*CLAIMS, *CLAIMS]
    assert out.read_text(encoding="utf-8") == page


def test_nothing_is_kept_of_code_that_changes_while_claims_are_judged(counted, monkeypatch):
    words, _, module, _ = counted
    judge = judging.judge_claim

    def while_code_changes(claim, *rest, **more):
        module.write_text("one = 2\n")
        return judge(claim, *rest, **more)

    monkeypatch.setattr(judging, "judge_claim", while_code_changes)
    run_cli(*checked(words))
    assert not kept.folder().exists()


def test_kept_judgements_are_the_same_to_the_bit(counted, judged):
    """Not a number, infinities and NumPy's numbers included."""
    _, judgements, _ = judged
    strange = dataclasses.replace(
        judgements[0].comparisons[0], power=np.float64(1 / 3), rejected=np.bool_(True), detectable=np.inf,
        numbers={"z": np.nan, "mean": np.float64(0.1) + 0.2, "trials": np.int64(7)},
    )  # fmt: skip
    before = dataclasses.replace(judgements[0], comparisons=[strange], seconds=0.1)
    content = json.loads(json.dumps(kept._content(before, False)))
    after = kept._judgement(content, before.claim)
    assert repr(after.comparisons[0]) == (
        f"Comparison(case={strange.case!r}, column={strange.column!r}, verdict={strange.verdict!r}, rejected=True, "
        f"power={1 / 3!r}, detectable=inf, trials_needed={strange.trials_needed!r}, "
        f"numbers={{'z': nan, 'mean': {0.1 + 0.2!r}, 'trials': 7}}, gap={strange.gap!r})"
    )
    assert dataclasses.replace(after, comparisons=[]) == dataclasses.replace(before, comparisons=[])


def test_only_the_newest_files_are_kept(counted, monkeypatch):
    monkeypatch.setattr(kept, "_MOST_FILES", 2)
    for number in range(3):
        kept.write(str(number), {})
        os.utime(kept.folder() / f"{number}.json", (number, number))
    assert sorted(path.stem for path in kept.folder().iterdir()) == ["1", "2"]


def test_a_claim_that_cannot_run_writes_no_page_and_the_others_are_kept(counted, monkeypatch):
    words, out, _, asked = counted
    judge = judging.judge_claim

    def unable(claim, *rest, **more):
        if claim.id == CLAIMS[1]:
            raise InvalidInput(claim.id, "an experiment that runs", "one that does not")
        return judge(claim, *rest, **more)

    monkeypatch.setattr(judging, "judge_claim", unable)
    code, printed, told = run_cli(*words)
    assert (code, printed, out.exists()) == (2, "", False)
    assert told == f"linreg-lora: {CLAIMS[1]}: expected an experiment that runs, received one that does not\n"
    asked.clear()
    monkeypatch.setattr(judging, "judge_claim", judge)
    assert run_cli(*words)[0] == 0
    assert asked == [CLAIMS[1]]
