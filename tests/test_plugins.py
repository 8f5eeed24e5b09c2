"""Doors for strangers: what is registered and what is refused, plug-ins broken and whole, claims of other files."""

import importlib.metadata
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from refusals import refused
from ruamel.yaml import YAML
from test_claims_schema import document

import linreg_lora as ll
from linreg_lora.claims import plugins, registry
from linreg_lora.claims.show import names
from linreg_lora.claims.vocabulary import Status, Verdict
from linreg_lora.errors import OldName
from linreg_lora.figures import catalogue
from linreg_lora.methods import registry as method_registry

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "docs" / "example_plugin"
GUIDE = ROOT / "docs" / "judge-your-paper.md"
TABLES = ("_predictions", "_experiments", "_predicates", "_domains")


@pytest.fixture(autouse=True)
def registries(monkeypatch):
    """What a test registers is gone after it."""
    registry.load_own()
    for table in TABLES:
        monkeypatch.setattr(registry, table, dict(getattr(registry, table)))
    monkeypatch.setattr(method_registry, "_makes", dict(method_registry.table()))
    monkeypatch.setattr(plugins, "_files", {})
    monkeypatch.setattr(catalogue, "registered", {})
    monkeypatch.setattr(sys, "path", list(sys.path))


def plugin(folder, text, name="mine.py"):
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


# -- registering --------------------------------------------------------------------------------------------------


def test_a_name_belongs_to_one_function_and_both_places_are_named(tmp_path):
    """Ours, and that of another plug-in; the same file again is no conflict."""
    code = """
        import linreg_lora as ll

        @ll.claims.register_prediction("{name}")
        def value(problem: ll.Problem, sample: ll.claims.Sample) -> float:
            return {value}
    """
    first, second = (plugin(tmp_path, code.format(name="its.value", value=v), f"{v}.py") for v in (1, 2))
    ll.claims.load_plugin(first)
    ll.claims.load_plugin(first)
    with refused(f"plugin {second}", remedy=f"{first}:4 has it, {second}:4 wants it"):
        ll.claims.load_plugin(second)
    assert registry.prediction("its.value").value(None, None) == 1
    with refused(f"plugin {second}", remedy="full_fine_tuning.py:"):
        ll.claims.load_plugin(plugin(tmp_path, code.format(name="fft.overdetermined", value=3), "2.py"))
    body = textwrap.dedent(code.format(name="its.twice", value=4))
    twice = plugin(tmp_path, body + body, "twice.py")
    with refused(f"plugin {twice}", remedy="twice.py:4 has it"):
        ll.claims.load_plugin(twice)
    assert "its.twice" not in registry.functions()["prediction"]


def test_a_function_that_is_edited_and_run_again_takes_its_own_place(tmp_path):
    """Also within a second, and of the same size, as bytecode that Python keeps cannot tell."""
    for value in (1, 2):
        code = f"""
            import linreg_lora as ll

            @ll.claims.register_prediction("its.value")
            def value(problem: ll.Problem, sample: ll.claims.Sample) -> float:
                return {value}
        """
        path = plugin(tmp_path, code)
        os.utime(path, (1e9, 1e9))
        ll.claims.load_plugin(path)
    assert registry.prediction("its.value").value(None, None) == 2


def test_annotations_may_be_strings(tmp_path):
    loaded = ll.claims.load_plugin(
        plugin(
            tmp_path,
            """
            from __future__ import annotations
            import linreg_lora as ll

            @ll.claims.register_experiment("its.zeros")
            def zeros(case: ll.claims.MatrixSize, trials: int, seed: int, *, rank: float) -> ll.claims.Sample:
                ...

            @ll.claims.register_domain("its-matrices")
            class Matrices(ll.claims.Domain):
                def cases(self) -> list[ll.claims.MatrixSize]:
                    return []
            """,
        )
    )
    registered = registry.experiment("its.zeros")
    assert (registered.case, registered.settings) == (ll.claims.MatrixSize, ("rank",))
    assert registry.domain("its-matrices") == (loaded.Matrices, ll.claims.MatrixSize)


def without_annotation(case, sample):
    return 0.0


def of_no_type(case: "Nothing", sample):
    return 0.0


def of_one(case: ll.Problem):
    return 0.0


def with_setting(case: ll.Problem, sample, *, rank):
    return 0.0


def by_position(case: ll.Problem, trials, seed, rank):
    return 0.0


async def awaited(case: ll.Problem, sample: ll.claims.Sample):
    return 0.0


def of_anything(case: ll.Problem, *everything):
    return 0.0


@pytest.mark.parametrize(
    ("door", "function", "expected", "remedy"),
    [
        ("prediction", without_annotation, "(case: CASE, sample: Sample)", "annotate case"),
        ("prediction", of_no_type, "(case: CASE, sample: Sample)", "CASE is the type"),
        ("prediction", of_one, "(case: CASE, sample: Sample)", "test_plugins.py"),
        ("prediction", with_setting, "(case: CASE, sample: Sample)", "test_plugins.py"),
        ("prediction", of_anything, "(case: CASE, sample: Sample)", "test_plugins.py"),
        ("experiment", by_position, "trials: int, seed: int, *, settings...", "settings come after a *"),
        ("experiment", without_annotation, "trials: int, seed: int, *, settings...", "settings come after a *"),
        ("predicate", of_one, "(rows: int, columns: int) -> bool", "test_plugins.py"),
        ("prediction", awaited, "(case: CASE, sample: Sample)", "test_plugins.py"),
    ],
)
def test_a_wrong_signature_is_told_what_is_expected(door, function, expected, remedy):
    with refused(door, expected, function.__name__ if remedy[0] != "C" else "Nothing", remedy):
        getattr(ll.claims, f"register_{door}")("its.name")(function)


def test_a_decorator_without_a_name_says_so():
    def square(rows, columns):
        return rows == columns

    with refused("predicate", 'a name, as in @register_predicate("name")', remedy="test_plugins.py"):
        ll.claims.register_predicate(square)


class Bare:
    pass


def test_a_domain_says_its_cases():
    register = ll.claims.register_domain("its-domain")
    with refused("domain", "derives from Domain", remedy="test_plugins.py"):
        register(Bare)

    class Silent(ll.claims.Domain):
        pass

    class Nameless(ll.claims.Domain):
        def cases(self) -> list[Bare]:
            return []

    with refused("domain", "a method cases(self) -> list[CASE]", "Silent"):
        register(Silent)
    with refused("domain", "a hash, a description and a fingerprint", "Bare, without description and fingerprint"):
        register(Nameless)


# -- broken plug-ins ----------------------------------------------------------------------------------------------

BROKEN = {
    "syntax": ("x = (1,\n", "SyntaxError; line 1: '(' was never closed"),
    "exception": ("import json\n\njson.loads('{')\n", "JSONDecodeError; line 3: Expecting property name"),
    "missing module": ("import no_such_module\n", "ModuleNotFoundError; line 1: No module named 'no_such_module'"),
    "exit": ("import sys\nsys.exit(3)\n", "SystemExit; line 2: 3"),
    "generator": ("x = 1\nraise GeneratorExit('stop')\n", "GeneratorExit; line 2: stop"),
    "method": ("import linreg_lora as ll\n@ll.methods.register_method\nclass Mine: pass\n", "a name of letters"),
    "registration": (
        "import linreg_lora as ll\n"
        "@ll.claims.register_predicate('its.whole')\ndef f(rows, columns): ...\n"
        "@ll.claims.register_predicate('its.half')\ndef f(rows): ...\n",
        "a registration that is refused; predicate: expected (rows: int, columns: int) -> bool, received f(rows)",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize(
    "words", [["check"], ["claims"], ["claims", "show", "lemma2-square"], ["claims", "vocabulary"]]
)
def test_a_broken_plugin_is_one_line_and_registers_nothing(run, tmp_path, kind, words):
    code, said = BROKEN[kind]
    before = {table: dict(getattr(registry, table)) for table in TABLES}
    path = plugin(tmp_path, code)
    code, out, err = run(*words, "--plugin", str(path))
    assert (code, out) == (2, "")
    assert err.startswith(f"linreg-lora: plugin {path}: expected a module that registers what claims name, received ")
    assert said in err
    assert len(err.splitlines()) == 1
    assert {table: getattr(registry, table) for table in TABLES} == before


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (
            ("die.sides + 1)", "die.faces + 1)"),
            "example: expected an experiment and predictions that run, received Attr",
        ),
        (
            ("die.sides + 1)", "__import__('sys').exit(0))"),
            "example: expected an experiment and predictions that run, received SystemExit",
        ),
        (
            ("fingerprint: str", "fingerprint: str; count: int"),
            "example: expected an experiment and predictions that run",
        ),
        (
            ('"""Fair dice."""', "def describe(self): return self.faces"),
            "mine.py: expected code that runs, received Attr",
        ),
    ],
)
def test_a_plugin_that_breaks_later_is_one_line_too(run, tmp_path, broken, said):
    claims = tmp_path / "dice.yaml"
    claims.write_text(json.dumps(of_dice(sides=[4, 6])))
    path = plugin(tmp_path, DICE.replace(*broken))
    code, _, err = run("claims", "show", "example", f"--claims={claims}", f"--plugin={path}")
    assert (code, len(err.splitlines())) == (2, 1)
    assert said in err


def test_a_module_of_a_broken_plugin_registers_anew_when_it_is_mended(tmp_path):
    helper = "import linreg_lora as ll\n@ll.claims.register_predicate('helpers.square')\ndef f(rows, columns): ...\n"
    plugin(tmp_path, helper, "its_helper.py")
    with refused(f"plugin {tmp_path / 'mine.py'}", "a module that registers"):
        ll.claims.load_plugin(plugin(tmp_path, "import its_helper\n1 / 0\n"))
    assert "helpers.square" not in registry._predicates
    ll.claims.load_plugin(plugin(tmp_path, "import its_helper\n"))
    assert "helpers.square" in registry._predicates
    del sys.modules["its_helper"]


@pytest.mark.parametrize("name", ["linreg-lora", "zindari_2026"])
def test_an_installed_plugin_cannot_take_the_name_of_a_paper(tmp_path, monkeypatch, name):
    plugin(tmp_path, "", "its_installed_plugin.py")
    monkeypatch.syspath_prepend(tmp_path)
    entries = [importlib.metadata.EntryPoint(n, "its_installed_plugin", plugins.GROUP) for n in (name, "its", "its")]
    monkeypatch.setattr(plugins, "_entry_points", lambda: entries)
    plugins.installed_plugins.cache_clear()
    try:
        taken, free, again = plugins.installed_plugins()
    finally:
        plugins.installed_plugins.cache_clear()
    assert "linreg_lora has it, its_installed_plugin wants it" in taken.problem
    assert free.problem == ""
    assert "its_installed_plugin has it" in again.problem


@pytest.mark.parametrize("name", ["missing.py", ".", "notes.txt"])
def test_what_is_no_python_file_is_refused(run, tmp_path, name):
    (tmp_path / "notes.txt").write_text("x = 1\n")
    code, out, err = run("claims", "--plugin", str(tmp_path / name))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "plugin: expected a Python file" in err


def test_what_a_plugin_prints_does_not_spoil_the_output(run, tmp_path):
    path = plugin(tmp_path, "print('hello')\n")
    code, out, err = run("claims", "vocabulary", "--format=json", "--plugin", str(path))
    assert (code, err) == (0, "hello\n")
    assert json.loads(out)["predictions"]


def test_a_broken_installed_plugin_is_a_line_of_warning(run, tmp_path, monkeypatch):
    """And nothing to commands that judge no claims."""
    plugin(tmp_path, "1 / 0\n", "its_broken_plugin.py")
    entry = importlib.metadata.EntryPoint("its", "its_broken_plugin", plugins.GROUP)
    monkeypatch.setattr(plugins, "_entry_points", lambda: [entry])
    monkeypatch.syspath_prepend(tmp_path)
    plugins.installed_plugins.cache_clear()
    try:
        code, out, err = run("check", "--only=lemma2-square")
        assert code == 0
        assert "1 of 1 claims as expected" in out
        assert err.startswith("linreg-lora: not loaded: plug-in its, its_broken_plugin: expected")
        assert "ZeroDivisionError" in err
        assert len(err.splitlines()) == 1
        words = ("--n=20", "--dx=4", "--dy=3", "--spectrum=1", "--noise-std=1", "--method=theory")
        code, _, err = run("risk", *words)
        assert (code, err) == (0, "")
    finally:
        plugins.installed_plugins.cache_clear()


# -- what can be named, and a claim of one's own ------------------------------------------------------------------


def test_the_vocabulary_lists_everything_with_a_line_each(run, tmp_path):
    code, out, err = run("claims", "vocabulary", "--format=json", "--plugin", str(EXAMPLE / "block_diagonal.py"))
    assert (code, err) == (0, "")
    listed = {kind: {record["name"]: record for record in records} for kind, records in json.loads(out).items()}
    for table in TABLES:
        assert set(listed[table[1:]]) == set(getattr(registry, table))
    experiment = listed["experiments"]["block-diagonal.risk"]
    assert experiment["settings"] == ["blocks"]
    assert experiment["summary"] == "Excess risk of the block-diagonal update on explicit data."
    assert {"gaussian-design", "matrices", "deep-networks"} <= set(listed["domains"])
    assert all(record["summary"] for records in listed.values() for record in records.values())
    _, out, _ = run("claims", "vocabulary")
    assert "block-diagonal.misfit-is-no-noise" in out


def test_a_word_filters_the_vocabulary_by_names_and_descriptions(run):
    """In capitals or not; what has it in neither is left out, and a word that nothing has is one line."""
    everything, found = (
        json.loads(run("claims", "vocabulary", *word, "--format=json")[1]) for word in ((), ("MINUS",))
    )
    assert list(found) == list(everything)
    for kind, records in everything.items():
        assert found[kind] == [one for one in records if "minus" in f"{one['name']}\0{one['summary']}".lower()]
    assert "lora-minus-fft" in {one["name"] for one in found["experiments"]}
    code, out, _ = run("claims", "vocabulary", "minus")
    assert (code, "lora-minus-fft" in out, "difference.zero" in out) == (0, True, False)
    code, out, err = run("claims", "vocabulary", "no-such-word")
    assert (code, out) == (2, "")
    assert err == (
        "linreg-lora: word: expected a part of a name or description, received no-such-word; "
        "without a word all are listed\n"
    )


def test_the_guide_goes_from_nothing_to_a_verdict(run, tmp_path, monkeypatch):
    """Its blocks, one after another in an empty folder: what `claims new` writes is judged as it stands, and what the
    guide makes of it fails, and cannot be told."""
    monkeypatch.chdir(tmp_path)
    block = r"^```(console|python)(?: run)?(?: exit=(\d))?\n(.*?)^```"
    printed = {}
    for language, ends_with, code in re.findall(block, GUIDE.read_text(), flags=re.MULTILINE | re.DOTALL):
        if language == "python":
            exec(code, {})
            continue
        for line in code.splitlines():
            program, *words = shlex.split(line.removeprefix("$ "))
            found, out, err = run(*words)
            assert (program, found, err) == ("linreg-lora", int(ends_with or 0), ""), words
            printed[" ".join(words[:3] if words[0] == "check" else words[:2])] = " ".join(out.split())
    assert list(printed) == [
        "claims new", "check --claims mine.yaml", "papers --claims", "claims vocabulary", "check --claims false.yaml",
        "check --claims near.yaml", "claims show",
    ]  # fmt: skip
    assert printed["claims new"] == "mine.yaml mine.py"
    assert "2 of 2 claims as expected" in printed["check --claims mine.yaml"]
    assert "3 of 3 rivals rejected" in printed["check --claims mine.yaml"]
    assert "fails, expected holds: the evidence is against it" in printed["check --claims false.yaml"]
    assert "inconclusive, expected holds: too few draws" in printed["check --claims near.yaml"]
    assert "verdict: holds, expected holds" in printed["claims show"]
    assert "What I say" in printed["papers --claims"]
    (block,) = re.findall(r"^```yaml\n(.*?)^```", GUIDE.read_text(), flags=re.MULTILINE | re.DOTALL)
    head, _, claims = Path("mine.yaml").read_text().partition("claims:\n")
    assert "".join(line for line in claims.splitlines(keepends=True) if "#" not in line).endswith(block)
    Path("alone.yaml").write_text(f"{head}claims:\n{block}")
    code, out, err = run("check", "--claims=alone.yaml")
    assert (code, err) == (0, ""), "the second claim needs no plug-in"
    assert "1 of 1 claims as expected" in out
    (tmp_path / "alone.yaml").unlink()
    (tmp_path / "mine.yaml").unlink()
    for name in ("mine", "Mine", "../mine", ""):
        code, out, err = run("claims", "new", name)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["false.yaml", "mine.py", "near.yaml"]


def test_a_claim_of_ones_own_goes_where_out_says(run, tmp_path, monkeypatch):
    """Ids have the name, the files that of --out, in their commands too; nothing is overwritten."""
    monkeypatch.chdir(tmp_path)
    assert run("claims", "new", "mine", "--out=papers/First.v2.yaml") == (
        0, "papers/First.v2.yaml\npapers/First.v2.py\n", ""
    )  # fmt: skip
    claims, plugin = Path("papers/First.v2.yaml"), Path("papers/First.v2.py")
    assert "--claims First.v2.yaml --plugin First.v2.py" in plugin.read_text()
    assert "NAME" not in claims.read_text() + plugin.read_text()
    code, out, _ = run("claims", f"--claims={claims}", f"--plugin={plugin}", "--format=json")
    assert (code, [claim["id"] for claim in json.loads(out)]) == (0, ["mine.fft-risk", "mine.lora-wins"])
    (tmp_path / "file").touch()
    for path, fault in {
        "papers/First.v2.yaml": "out: expected one of which no file exists",
        "papers": "out: expected a file of letters",
        "papers/a b.yaml": "out: expected a file of letters",
        "file/x.yaml": "out: expected ",
        f"{'x' * 300}.yaml": "out: expected files that can be written",
        f"{'x' * 300}/x.yaml": "out: expected files that can be written",
        "\udcff.yaml": "out: expected a file of letters",
    }.items():
        code, out, err = run("claims", "new", "mine", f"--out={path}")
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert fault in err
    assert "--out says where the files go" in run("claims", "new", "../mine")[2]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["First.v2.py", "First.v2.yaml", "file", "papers"]


# -- claims of several files --------------------------------------------------------------------------------------


def test_every_file_has_its_level_and_a_run_their_sum(run):
    only = ("--only=lemma2-square", "--only=fft-input-rise-underdetermined")
    code, out, _ = run("check", "--all", *only)
    assert code == 0
    assert "2 of 2 claims as expected" in out
    levels = {part.name: part.file.family_wise_level for part in ll.claims.collect_claims(everything=True).parts}
    assert levels["paper_claims.yaml"] == levels["linreg-lora"] == 1e-6
    listed = " + ".join(f"{name} {level:.1e}" for name, level in levels.items())
    assert f"family-wise levels of the files: {listed} = {sum(levels.values()):.1e}" in out
    code, out, _ = run("check", "--paper=linreg_lora", only[1], "--format=json")
    judged = json.loads(out)
    assert (code, judged["family_wise_level"]) == (0, 1e-6)
    files = [{"name": "linreg-lora", "family_wise_level": 1e-6, "claims": ["fft-input-rise-underdetermined"]}]
    assert judged["files"] == files


def test_papers_are_found_by_name_and_others_are_refused(run):
    code, out, err = run("claims", "--paper=linreg-lora", "--source=input_perturbation", "--format=json")
    assert (code, err) == (0, "")
    assert [claim["id"] for claim in json.loads(out)] == ["fft-input-rise", "fft-input-rise-underdetermined"]
    for name, remedy in (("nobody-1999", ""), ("zindari_2026", "are in paper_claims.yaml")):
        code, out, err = run("check", f"--paper={name}")
        assert (code, out) == (2, "")
        known = ", ".join(ll.claims.known_papers())
        assert err.startswith(f"linreg-lora: paper: expected one of {known}, received {name}")
        assert remedy in err


def test_an_id_of_two_files_is_refused_with_both_named(tmp_path):
    content = document()
    content["claims"][0]["id"] = "fft-input-rise"
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(content))
    with refused("claims", received="fft-input-rise", remedy="mine.yaml has it, linreg-lora wants it"):
        ll.claims.collect_claims(path, papers=["linreg-lora"])


# -- domains of strangers -----------------------------------------------------------------------------------------

DICE = '''
    from dataclasses import dataclass
    import numpy as np
    import linreg_lora as ll

    @dataclass(frozen=True)
    class Die:
        sides: int
        description: str
        fingerprint: str

    @ll.claims.register_domain("dice")
    class Dice(ll.claims.Domain):
        """Fair dice."""
        sides: list[int]

        def cases(self) -> list[Die]:
            return [Die(sides, f"a die with {sides} sides", f"die {sides}") for sides in self.sides]

        def neighbours(self) -> list[Die]:
            return [Die(self.sides[-1] + 1, "a die with one side more", "die with one side more")]

    @ll.claims.register_experiment("dice.roll", bounded=True)
    def roll(die: Die, trials: int, seed: int) -> ll.claims.Sample:
        """What a die shows."""
        rolled = np.random.default_rng(seed).integers(1, die.sides + 1, trials)
        return ll.claims.Sample(rolled[:, None].astype(float))

    @ll.claims.register_prediction("dice.mean")
    def mean(die: Die, sample: ll.claims.Sample) -> float:
        return (die.sides + 1) / 2

    @ll.claims.register_prediction("dice.half")
    def half(die: Die, sample: ll.claims.Sample) -> float:
        return die.sides / 2
'''


def of_dice(**domain):
    return document(
        domain={"type": "dice", **domain}, prediction="dice.mean", experiment={"name": "dice.roll", "trials": 20_000},
        rivals=[{"prediction": "dice.half", "mistake": "counted from 0"}], detects=0.03,
    )  # fmt: skip


def test_a_strangers_domain_is_judged_and_shown(run, tmp_path):
    claims = tmp_path / "dice.yaml"
    claims.write_text(json.dumps(of_dice(sides=[4, 6])))
    words = (f"--claims={claims}", f"--plugin={plugin(tmp_path, DICE)}")
    code, out, err = run("check", *words, "--format=json")
    assert (code, err) == (0, "")
    (claim,) = json.loads(out)["claims"]
    assert [row["case"] for row in claim["evidence"]] == ["a die with 4 sides", "a die with 6 sides"]
    assert claim["rivals"][0]["rejected"]
    code, out, _ = run("claims", "show", "example", *words)
    assert code == 0
    assert "tested on: sides [4, 6]" in out
    code, out, _ = run("claims", *words, "--format=json")
    (record,) = json.loads(out)
    assert record["domain"] == {"type": "dice", "sides": [4, 6]}


def test_strangers_claims_are_judged_in_other_processes(run, tmp_path):
    """Which know the plug-in's classes; one that fails is told as here, and no number depends on who judged."""
    content = of_dice(sides=[4, 6])
    (claim,) = content["claims"]
    content["claims"] = [claim | {"id": f"dice-{i}", "detects": 0.03 + 0.001 * i} for i in range(5)]
    claims = tmp_path / "dice.yaml"
    claims.write_text(json.dumps(content))
    words = ("check", f"--claims={claims}", f"--plugin={plugin(tmp_path, DICE)}", "--format=json")
    alone, together = (run(*words, f"--workers={workers}") for workers in (1, 2))
    assert alone[0] == together[0] == 0
    judged, judged_there = (
        [claim | {"seconds": 0} for claim in json.loads(out)["claims"]] for _, out, _ in (alone, together)
    )
    assert judged == judged_there
    plugin(tmp_path, DICE.replace("(die.sides + 1) / 2", "1 / 0"))
    code, out, err = run(*words, "--workers=2")
    assert code == 2
    unable = {one["id"] for one in json.loads(out)["could_not_run"]}
    assert unable
    assert all(claim_id in err for claim_id in unable)
    assert "ZeroDivisionError" in err
    with refused("workers", "an integer", "0"):
        ll.check_claims(claims, workers=0)


def test_other_processes_are_told_of_the_files_that_are_still_there(tmp_path):
    kept, gone = (plugin(tmp_path, "import linreg_lora", name) for name in ("kept.py", "gone.py"))
    for path in (kept, gone):
        ll.claims.load_plugin(path)
    gone.unlink()
    assert list(plugins.loaded_files()) == [str(kept.resolve())]


@pytest.mark.heavy
def test_a_strangers_domain_is_in_the_report(run, tmp_path):
    claims = tmp_path / "dice.yaml"
    claims.write_text(json.dumps(of_dice(sides=[4, 6])))
    words = (f"--claims={claims}", f"--plugin={plugin(tmp_path, DICE)}")
    assert run("report", f"--out={tmp_path / 'report.html'}", *words)[0] == 0
    assert "a die with 4 sides" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"type": "deuce"}, ".type", "a registered domain, such as dice"),
        ({"type": []}, ".type", "a registered domain"),
        ({"sides": ["six"]}, ".sides.0", "a valid integer"),
        ({"faces": [6]}, "", "fields among sides"),
    ],
)
def test_what_does_not_fit_a_strangers_domain_is_refused(tmp_path, changes, field, expected):
    ll.claims.load_plugin(plugin(tmp_path, DICE))
    content = of_dice(sides=[6])
    content["claims"][0]["domain"] |= changes
    with refused(f"claims.example.domain{field}", expected):
        ll.claims.parse_claims(content)
    limits = of_dice(sides=[6])
    limits["claims"][0] |= {"kind": "asymptotic", "rate": 1.0}
    with refused("claims.example", "three sizes"):
        ll.claims.parse_claims(limits)


def test_networks_that_pose_as_matrices_are_still_read():
    old = {"predicate": "deep-networks", "sizes": [[4, 3]]}
    content = document(
        domain=old, prediction="network-gap.bound", kind="pathwise", relation="at-most", false_alarm=0, detects=1e-9,
        experiment={"name": "network-gap", "trials": 9, "settings": {"lipschitz": 1.0}},
        rivals=[{"prediction": "network-gap.first-order", "mistake": "m"}],
    )  # fmt: skip
    with pytest.warns(OldName, match="deep-networks is a type now"):
        claim = ll.claims.parse_claims(content).claims[0]
    assert claim.model_dump()["domain"] == {"type": "deep-networks", "sizes": [(4, 3)]}


# -- figures of strangers -----------------------------------------------------------------------------------------

FIGURE = """
    import sys
    import matplotlib.figure
    import xarray as xr
    import linreg_lora as ll

    CELLS = 1

    def data(trials, seed, executor=None, progress=lambda steps: None):
        progress(1)
        return xr.Dataset({"value": ("n", [1.0, {value}])}, {"n": [1, 2]})

    def draw(dataset):
        figure = matplotlib.figure.Figure()
        figure.subplots().plot(dataset["n"], dataset["value"])
        return figure

    def caption(dataset):
        return "A line."

    ll.figures.register_figure("{name}", sys.modules[__name__])
"""


def test_a_strangers_figure_is_drawn_by_name(run, tmp_path):
    path = plugin(tmp_path, FIGURE.replace("{value}", "2.0").replace("{name}", "a-line"))
    code, out, err = run("figures", "a-line", f"--out={tmp_path / 'made'}", f"--plugin={path}", "--workers=1")
    assert (code, err) == (0, "")
    assert sorted(Path(line).name for line in out.splitlines()) == [
        f"a-line.{end}" for end in ("json", "nc", "pdf", "png")
    ]
    assert json.loads((tmp_path / "made" / "a-line.json").read_text())["caption"] == "A line."
    for value, name, said in (
        ("1 / 0", "b-line", "b-line: expected a figure that can be made, received ZeroDivisionError"),
        ("2.0", "bounds", "linreg_lora.figures.bounds has it"),
    ):
        path = plugin(tmp_path, FIGURE.replace("{value}", value).replace("{name}", name), "other.py")
        code, out, err = run("figures", name, f"--out={tmp_path / 'none'}", f"--plugin={path}", "--workers=1")
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert said in err
        assert not (tmp_path / "none").exists()


# -- the worked example -------------------------------------------------------------------------------------------


def test_the_examples_formula_is_that_of_a_plain_simulation():
    """Least squares row by row with numpy.linalg.lstsq, 4000 draws, Sigma and Sigma_eps not the identity; the z-scores
    of three problems are below 5: level 2e-6. The rivals of the first are not within 5 standard errors."""
    example = ll.claims.load_plugin(EXAMPLE / "block_diagonal.py")
    rng = np.random.default_rng(7)
    for n, dx, dy, blocks in ((26, 8, 4, 2), (24, 9, 6, 3), (24, 6, 4, 1)):
        roots = [rng.standard_normal((size, size)) for size in (dx, dy)]
        sigma, sigma_eps = (root @ root.T + np.eye(len(root)) for root in roots)
        problem = ll.Problem(
            n=n,
            dx=dx,
            dy=dy,
            noise_std=1.0,
            spectrum=(1.0, 0.7, 0.4),
            input_covariance=sigma,
            noise_covariance=sigma_eps,
        )
        risks = np.empty(4000)
        for i in range(len(risks)):
            x = rng.multivariate_normal(np.zeros(dx), problem.sigma, n)
            y = x @ problem.shift.T + rng.multivariate_normal(np.zeros(dy), problem.sigma_eps, n)
            update = np.zeros((dy, dx))
            for row in range(dy):
                block = row // (dy // blocks)
                seen = slice(block * (dx // blocks), (block + 1) * (dx // blocks))
                update[row, seen] = np.linalg.lstsq(x[:, seen], y[:, row], rcond=None)[0]
            error = update - problem.shift
            risks[i] = np.trace(error @ problem.sigma @ error.T)
        stderr = risks.std(ddof=1) / np.sqrt(len(risks))
        assert abs(risks.mean() - example.expected_risk(problem, blocks)) < 5 * stderr
        if blocks == 2:
            sample = ll.claims.Sample(risks[:, None], {"blocks": np.asarray(blocks)})
            for rival in (example.misfit_is_no_noise, example.uncorrelated_inputs):
                assert abs(risks.mean() - rival(problem, sample)) > 5 * stderr


def test_the_example_is_judged_as_files(run):
    words = (f"--claims={EXAMPLE / 'block_diagonal.yaml'}", f"--plugin={EXAMPLE / 'block_diagonal.py'}")
    code, out, err = run("check", *words)
    assert (code, err) == (0, "")
    assert "1 of 1 claims as expected" in out
    assert "2 of 2 rivals rejected" in out


def test_the_example_is_judged_as_an_installed_package_by_its_workflow(tmp_path):
    """Installed into a folder of its own, without network, and found there by its entry point; then what its workflow
    runs, but for the report, which proves everything and is tested elsewhere."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "block_diagonal.py", "block_diagonal.yaml"):
        (source / name).write_bytes((EXAMPLE / name).read_bytes())
    subprocess.run([*pip, "--target", tmp_path / "site", source], check=True, capture_output=True, timeout=120)
    (job,) = YAML(typ="safe").load(EXAMPLE / ".github" / "workflows" / "claims.yml")["jobs"].values()
    install, *steps, report = [step["run"] for step in job["steps"] if "run" in step]
    assert install == 'pip install "$LINREG_LORA" .'
    assert report == 'linreg-lora report --paper "$PAPER" --out report.html'
    program = tmp_path / "linreg-lora"
    program.write_text(f"#!{sys.executable}\nfrom linreg_lora.__main__ import run\nrun()\n")
    program.chmod(0o755)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path / "site")]),
        "PATH": os.pathsep.join([str(tmp_path), os.environ["PATH"]]),
        "PAPER": job["env"]["PAPER"],
    }
    printed = []
    for step in [*steps, "linreg-lora claims vocabulary"]:
        done = subprocess.run(
            ["bash", "-e", "-c", step], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert (done.returncode, done.stderr) == (0, ""), step
        printed.append(done.stdout)
    judged = json.loads((tmp_path / "check.json").read_text())
    assert [claim["id"] for claim in judged["claims"]] == ["block-diagonal-risk"]
    assert all(rival["rejected"] for rival in judged["claims"][0]["rivals"])
    assert "1 of 1" in printed[1]
    assert "block-diagonal.exact" in printed[-1]


def test_what_the_guide_points_to_is_there():
    targets = re.findall(r"\]\(([^)#]+)\)", GUIDE.read_text())
    assert len(targets) >= 3
    assert all((GUIDE.parent / target).exists() for target in targets)
    shown = re.findall(r"`(\w+)`", re.search(r"\| status \|.*?\n\n", GUIDE.read_text(), flags=re.DOTALL)[0])
    assert shown == list(Status)
    assert {str(verdict) for verdict in Verdict} - {"undecidable-here"} <= set(
        re.findall(r"[a-z-]+", GUIDE.read_text())
    )


def test_the_summary_of_a_docstring_is_one_line():
    def documented():
        """One thing
        and another.

        More."""

    assert names.summary(documented) == "One thing and another."


@pytest.mark.parametrize("blocks", [-2, 0, 2.5])
def test_the_example_refuses_what_are_no_blocks(blocks):
    example = ll.claims.load_plugin(EXAMPLE / "block_diagonal.py")
    with refused("blocks", "an integer >= 1"):
        example.BlockDiagonal(blocks)
    with refused("blocks", "an integer >= 1"):
        example.expected_risk(ll.Problem(n=36, dx=12, dy=6, noise_std=1.0, spectrum=(1.0,)), blocks)


def test_the_examples_method_is_compared_and_swept(run, tmp_path):
    """Its risk by theory is its formula, and what it cannot do is a reason in its row."""
    plugin = ("--plugin", str(EXAMPLE / "block_diagonal.py"))
    problem = ("--n=20", "--dx=8", "--dy=4", "--noise-std=1", "--spectrum=2,1")
    adapt = "--adapt=block-diagonal:2,block-diagonal:3"
    code, out, _ = run("compare", *problem, adapt, "--trials=8", "--format=json", *plugin)
    assert code == 0
    two, three = sorted(json.loads(out)["methods"], key=lambda row: (row["asked"] is None, row["asked"]))[:2]
    example = ll.claims.load_plugin(EXAMPLE / "block_diagonal.py")
    exact = example.expected_risk(ll.Problem(n=20, dx=8, dy=4, noise_std=1.0, spectrum=(2.0, 1.0)), 2)
    assert two["theory"]["risk"] == pytest.approx(exact, rel=1e-12)
    assert three["theory"]["risk"] is None
    assert "a divisor" in str(three)
    config = tmp_path / "sweep.yaml"
    config.write_text(
        "problem: {n: 20, dx: 8, dy: 4, noise_std: 1.0, spectrum: [2, 1]}\n"
        'axes: {noise_std: [0.5, 1.0]}\nadapt: ["block-diagonal:2"]\ntrials: 8\n'
    )
    code, _, err = run("sweep", str(config), "--out", str(tmp_path / "sweep.nc"), "--workers=1", *plugin)
    assert code == 0, err
    with xr.open_dataset(tmp_path / "sweep.nc") as found:
        by_theory = found["adapt_risk"].sel(computed_by="theory", noise_std=1.0, adapt="block-diagonal:2")
        assert float(by_theory) == pytest.approx(exact, rel=1e-12)
