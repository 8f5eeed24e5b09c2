"""What names the code of a result: its modules and all they import, and nothing else."""

import pytest

from linreg_lora import provenance

SOURCES = {
    "top.py": "from linreg_lora import middle\n",
    "middle.py": "import numpy\n\n\ndef f():\n    from linreg_lora.room.deep import g\n\n    return g() + 1\n",
    "room/__init__.py": "",
    "room/deep.py": "def g():\n    return 1\n",
    "beside.py": "from linreg_lora import top\n",
}


@pytest.fixture
def hash_with(tmp_path, monkeypatch):
    """The hash of `top` in a package of `SOURCES`, after some of them changed."""
    monkeypatch.setattr(provenance, "_PACKAGE", tmp_path)

    def hashed(**changed):
        for name, source in {
            **SOURCES,
            **{key.replace("__", "/") + ".py": value for key, value in changed.items()},
        }.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(source)
        provenance._parsed.cache_clear()
        return provenance.code_hash("linreg_lora.top", without=("linreg_lora.left_out",))

    yield hashed
    provenance._parsed.cache_clear()


def test_what_computes_changes_the_hash(hash_with):
    before = hash_with()
    assert hash_with(room__deep="def g():\n    return 2\n") != before
    assert hash_with(middle=SOURCES["middle.py"].replace("+ 1", "+ 2")) != before
    assert hash_with() == before


def test_what_does_not_leaves_it(hash_with):
    before = hash_with()
    deep = '"""A module."""\n\n\ndef g():  # a comment\n    """One."""\n    return (1)\n'
    assert hash_with(room__deep=deep) == before
    assert hash_with(beside="import numpy\n") == before
    assert hash_with(middle=SOURCES["middle.py"] + "\n\ndef h():\n    pass\n") != before
    assert hash_with(top=SOURCES["top.py"] + "from linreg_lora import left_out\n", left_out="x = 1\n") != before
    first = hash_with(top=SOURCES["top.py"] + "from linreg_lora import left_out\n", left_out="x = 1\n")
    assert hash_with(top=SOURCES["top.py"] + "from linreg_lora import left_out\n", left_out="x = 2\n") == first
