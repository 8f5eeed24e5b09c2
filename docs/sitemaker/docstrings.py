"""Docstrings as Markdown: their examples become code blocks, and nothing else in them is taken for markup."""

import re

import griffe

_CODE = re.compile(r"`+[^`]*`+")


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
        else:
            blocks.append(_literal(block))
    return "\n\n".join(blocks)


def _literal(text: str) -> str:
    pieces, end = [], 0
    for code in _CODE.finditer(text):
        pieces += [_escaped(text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*pieces, _escaped(text[end:])])


def _escaped(text: str) -> str:
    named = {"<": "&lt;", "[": "&#91;", "]": "&#93;", "*": "&#42;", "$": "&#36;", "|": "&#124;"}
    return re.sub(r"[<\[\]$|]|(?<!\*)\*(?!\*)", lambda found: named[found[0]], text)
