"""Compiles the note.

    cd docs && python -m note.build        writes note/values.json, note/papers.bib and note/note.pdf

The same files and the same version of Typst give the same bytes: fonts are those that Typst brings, and no date is
stored. Exit code 2, with one line, where Typst is not installed, a number is not found, or the source does not compile.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any, Literal

from note import sources, values, verdicts

from linreg_lora import citation
from linreg_lora.files.atomic import write_atomically

FOLDER = Path(__file__).parent
SOURCE, OUTPUT = FOLDER / "note.typ", FOLDER / "note.pdf"


def prepare() -> None:
    """Write what the source reads: the numbers, and the papers whose claims are judged."""
    numbers = json.dumps(values.collect(), indent=2, ensure_ascii=False) + "\n"
    entries = shown(without_known(citation.bibliography(verdicts.judged()))) + "\n"
    for name, text in (("values.json", numbers), ("papers.bib", entries)):
        write_atomically(FOLDER / name, text.encode())


def without_known(entries: str) -> str:
    """BibTeX without the entries that the file of other works has, which say more of them."""
    known = set(re.findall(r"^@\w+\{(\w+),", (FOLDER / "references.bib").read_text(), re.MULTILINE))
    return "\n\n".join(entry for entry in entries.split("\n\n") if re.split(r"[{,]", entry)[1] not in known)


def shown(entries: str) -> str:
    """BibTeX as Typst's styles print it: arXiv as a journal, so that its number is there, "and others" as a name."""
    entries = re.sub(
        r"@misc(\{[^@]*?)eprint = \{(\S+?)\},\n  archiveprefix = \{arXiv\}", r"@article\1journal = {arXiv:\2}", entries
    )
    return re.sub(r"author = \{([^{}]*?) and others\}", r"author = {{\1 et al.}}", entries)


def compiled(kind: Literal["pdf", "png"] = "pdf", resolution: float = 144.0) -> list[bytes]:
    """The note: one file of `kind` pdf, or one a page of `kind` png, with `resolution` dots per inch."""
    import typst

    fonts = typst.Fonts(include_system_fonts=False)
    compiler = typst.Compiler(str(SOURCE), root=str(sources.ROOT), font_paths=fonts)
    made: Any = compiler.compile(format=kind, ppi=resolution)
    return made if isinstance(made, list) else [made]


def main() -> int:
    """Write the note; returns the exit code."""
    try:
        import typst
    except ImportError:
        print("typst: expected to be installed, received no such package; pip install '.[note]'", file=sys.stderr)
        return 2
    try:
        prepare()
        (made,) = compiled()
    except (sources.NotFound, OSError) as error:
        print(f"values: {error}", file=sys.stderr)
        return 2
    except typst.TypstError as error:
        print(f"{SOURCE.name}: {error}", file=sys.stderr)
        return 2
    write_atomically(OUTPUT, made)
    print(f"{OUTPUT.relative_to(sources.ROOT)}: {len(made):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
