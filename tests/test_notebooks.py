"""Notebooks run from beginning to end, are stored without outputs, and equal the scripts beside them."""

from pathlib import Path

import jupytext
import nbclient
import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

#: Notebooks that run in every test, by what they use: the front door, and claims. The others are heavy.
OFTEN = ("01_tour", "03_claims")
by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_every_script_has_its_notebook_and_the_reverse():
    assert NOTEBOOKS
    assert [path.stem for path in NOTEBOOKS] == [path.stem for path in sorted(FOLDER.glob("*.py"))]


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[] if path.stem in OFTEN else pytest.mark.heavy, id=path.stem) for path in NOTEBOOKS],
)
def test_runs_from_beginning_to_end(path):
    """In the kernel `python3` of this environment, which ipykernel installs with itself."""
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, kernel_name="python3", timeout=300, resources={"metadata": {"path": str(FOLDER)}}
    )
    client.execute()
    errors = [out for cell in notebook.cells for out in cell.get("outputs", []) if out.get("name") == "stderr"]
    assert errors == []


@by_name
def test_is_stored_without_outputs(path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert cell.metadata == {}
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@by_name
def test_script_and_notebook_are_one_document(path):
    notebook, script = nbformat.read(path, as_version=4), jupytext.read(path.with_suffix(".py"))
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in script.cells
    ]
    assert notebook.metadata["kernelspec"]["name"] == script.metadata["kernelspec"]["name"] == "python3"
