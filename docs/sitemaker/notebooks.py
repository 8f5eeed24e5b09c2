"""Notebooks, which are stored without outputs, run when the site is built and shown with them.

The outputs are kept in .cache/site, by the notebook and the package's source, so that the next build need not run them.
"""

import base64
import hashlib
import json
import re
from pathlib import Path

from sitemaker import ROOT, runs
from sitemaker.page import Page, heading

FOLDER = ROOT / "notebooks"
#: A cell that takes longer than this many seconds has failed.
PATIENCE = 600


def pages() -> list[Page]:
    """Without outputs; the navigation needs their titles only."""
    return [_page(path, json.loads(path.read_text())) for path in sorted(FOLDER.glob("*.ipynb"))]


def executed() -> tuple[list[Page], dict[str, bytes]]:
    """With outputs; and by their place in the site their pictures, and the notebooks to be downloaded, outputs too."""
    found, files = [], {}
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = _outputs(path)
        files[_place(path)] = json.dumps(notebook, indent=1, ensure_ascii=False).encode()
        found.append(_page(path, notebook, files))
    return found, files


def stored() -> dict[str, bytes]:
    """The notebooks to be downloaded, by their place in the site, without outputs."""
    return {_place(path): path.read_bytes() for path in sorted(FOLDER.glob("*.ipynb"))}


def _place(path: Path) -> str:
    return f"files/notebooks/{path.name}"


def _outputs(path: Path) -> dict:
    kept = runs.CACHE / f"{path.stem}-{runs.key(path.read_text())}.ipynb"
    if not kept.exists():
        import nbclient
        import nbformat

        notebook = nbformat.read(path, as_version=4)
        nbclient.NotebookClient(
            notebook, kernel_name="python3", timeout=PATIENCE, resources={"metadata": {"path": str(FOLDER)}}
        ).execute()
        kept.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, kept)
    return json.loads(kept.read_text())


def _page(path: Path, notebook: dict, pictures: dict[str, bytes] | None = None) -> Page:
    blocks = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            blocks.append(source)
            continue
        blocks.append(_fenced(source))
        if pictures is not None:
            blocks += [_shown(output, pictures) for output in _joined(cell["outputs"])]
    said = "run when this site was built" if pictures is not None else "not run when this site was built: no outputs"
    how = (
        "To run it yourself, install the extra `notebooks` ([how](../docs/install.md#extras)) and open it in "
        f"JupyterLab: `jupyter lab notebooks/{path.name}` in a checkout, or [download it](site:{_place(path)})."
    )
    title = heading("\n".join(blocks))
    first, *others = filter(None, blocks)
    note = f"*notebooks/{path.name}, {said}.* {how}"
    text = "\n\n".join([first, note, *others]) + "\n"
    return Page(f"notebooks/{path.stem}.md", title, f"notebooks/{path.name}", text, whole=True)


def _joined(outputs: list[dict]) -> list[dict]:
    """What is printed piece by piece, as one output."""
    found: list[dict] = []
    for output in outputs:
        last = found[-1] if found else {"output_type": ""}
        if output["output_type"] == last["output_type"] == "stream" and output["name"] == last["name"]:
            found[-1] = {**last, "text": ["".join(last["text"]), "".join(output["text"])]}
        else:
            found.append(output)
    return found


def _shown(output: dict, pictures: dict[str, bytes]) -> str:
    if output["output_type"] == "error":
        raise RuntimeError(f"a notebook failed: {output['evalue']}")
    if output["output_type"] == "stream":
        return runs.shown_output("".join(output["text"]))
    data = output["data"]
    if "image/png" in data:
        picture = base64.b64decode(data["image/png"])
        name = f"files/notebooks/{hashlib.sha256(picture).hexdigest()[:16]}.png"
        pictures[name] = picture
        return f"![A figure that the cell above draws](site:{name})"
    if "application/vnd.jupyter.widget-view+json" in data:
        return "*Here are controls, when the notebook is open in Jupyter.*"
    if "text/markdown" in data:
        return "".join(data["text/markdown"])
    if "text/latex" in data:
        latex = "".join(data["text/latex"])
        return re.sub(r"^\$\\displaystyle (.*)\$$", r"$$\1$$", latex, flags=re.DOTALL)
    return runs.shown_output("".join(data.get("text/plain", "")))


def _fenced(source: str) -> str:
    fence = "~" * 6
    return f"{fence}{{.python}}\n{source.rstrip()}\n{fence}" if source.strip() else ""
