"""Docstrings as Markdown: their examples become code blocks, and nothing else in them is taken for markup."""

import re

import griffe

_CODE = re.compile(r"`+[^`]*`+")
#: The line below a table's heading; and what parts its cells, where ||D||_F does not.
_RULE = re.compile(r"^ *\|[-|]+\|$", re.MULTILINE)
_BETWEEN = re.compile(r"(?:^|(?<=\s))\|(?=\s|$)|\|$")


class Examples(griffe.Extension):
    """Griffe calls this for each object that it has read."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(docstring: str) -> str:
    """A docstring whose doctests are fenced and whose signs mean themselves outside of code."""
    blocks = []
    docstring = re.sub(r"^(\w+)\n-{3,}\n", r"**\1**\n\n", docstring, flags=re.MULTILINE)  # headings of numpydoc
    for block in re.split(r"\n[ \t]*\n", docstring.strip("\n")):
        if block.lstrip().startswith(">>>"):
            indent = len(block) - len(block.lstrip(" "))
            lines = "\n".join(line[indent:] for line in block.splitlines())
            blocks.append(f"```pycon\n{lines}\n```")
        elif block.startswith("    "):
            blocks.append(block)
        elif _RULE.search(block):
            blocks.append(_table(block))
        else:
            blocks.append(_literal(block))
    return "\n\n".join(blocks)


def _table(block: str) -> str:
    """A table, whose cells are text, with what may stand before it."""
    rows, text = [], []
    for line in block.splitlines():
        row = line.strip()
        if not row.startswith("|"):
            text.append(line)
        elif _RULE.match(row):
            rows.append(row)
        else:
            rows.append("|".join(_literal(cell) for cell in _BETWEEN.split(row)))
    return "\n\n".join(filter(None, [_literal("\n".join(text)), "\n".join(rows)]))


def _literal(text: str) -> str:
    pieces, end = [], 0
    for code in _CODE.finditer(text):
        pieces += [_escaped(text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*pieces, _escaped(text[end:])])


def _escaped(text: str) -> str:
    named = {"<": "&lt;", "[": "&#91;", "]": "&#93;", "*": "&#42;", "$": "&#36;", "|": "&#124;"}
    return re.sub(r"[<\[\]$|]|(?<!\*)\*(?!\*)", lambda found: named[found[0]], text)
