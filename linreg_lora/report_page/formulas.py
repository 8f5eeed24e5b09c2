"""LaTeX -> MathML, which browsers typeset without a script and without fonts from elsewhere."""

import re
import xml.etree.ElementTree as ET
from html import escape

from latex2mathml.converter import convert

_MATHML = "http://www.w3.org/1998/Math/MathML"

_BARS = ("|", "‖")
_CLOSING = {"(": ")", "[": "]", "{": "}", "⟨": "⟩", "‖": "‖", "|": "|"}
#: Before what a formula may be broken; signs only between two terms.
_RELATIONS, _SIGNS = frozenset("=≤≥<>≈→∼∈⇒⇔⟺⟹≪≫≠∝⊂⊆"), frozenset("+−-±×")
#: The fewest signs and letters that may stand on their own, but at a formula's beginning.
_SHORTEST = 5

#: What latex2mathml does not know, said otherwise.
_INSTEAD = (
    (re.compile(r"\\(arg|sup|inf|lim|det|dim|ker|trace)(?![A-Za-z])"), r"\\operatorname{\1}"),
    (re.compile(r"\\([bB]igg?[lrm]?)\s*\\(?:\||lVert|rVert|Vert)"), "\\\\\\1‖"),
    (re.compile(r"(\\[bB]igg?[lrm]?)\s*\\(?=[{}])"), r"\1"),
    (re.compile(r"(\\[bB]igg?[lrm]?)\s*\\([lr])ceil(?![A-Za-z])"), lambda found: found[1] + "⌈⌉"["lr".index(found[2])]),
    (re.compile(r"\\(le|ge)qslant(?![A-Za-z])"), r"\\\1"),
    (re.compile(r"\\operatorname\*?\{arg(?:\\,|\s)*(min|max)\}"), r"\\operatorname{arg\1}"),
    (re.compile(r"\\operatorname\*"), r"\\operatorname"),
)


def lines(statement: str) -> list[str]:
    """A displayed statement as HTML: for each line of its LaTeX, or lines that need each other, a `<div>` of `<math>`.

    Authors break lines at relations and signs, so that no line need be wider than a page. Each `<math>` of a line ends
    where a narrow screen may break it: before a relation or a sign outside of all parentheses, between words, and after
    wide space. A statement that is no LaTeX that can be converted is shown as it is, in `<code>`.
    """
    try:
        rows = [_converted(line, continues=i > 0) for i, line in enumerate(_balanced(statement))]
    except ValueError:
        return [f"<code>{escape(statement)}</code>"]
    return [f'<div class="line">{"".join(map(_text, _pieces(row)))}</div>' for row in rows]


def mathml(latex: str) -> str:
    """One displayed formula. Raises `ValueError` for LaTeX that cannot be converted; no command is left in it."""
    return _text(_converted(latex))


def _converted(latex: str, *, continues: bool = False) -> ET.Element:
    """`continues`: the first sign is between this line and the one before."""
    for pattern, replacement in _INSTEAD:
        latex = pattern.sub(replacement, latex)
    try:
        root = ET.fromstring(convert(latex, display="block"))
    except Exception as error:  # of the converter, which has no error of its own for many mistakes
        raise ValueError(f"{type(error).__name__}: {error}") from error
    left = [text for text in root.itertext() if "\\" in text]
    if left:
        raise ValueError(f"unknown command {left[0]}")
    for row in list(root.iter(_tag("mrow"))):
        _join_letters(row)
        _close_up(row)
        _group_tall_fences(row)
    for letter in root.iter(_tag("mi")):
        if len(letter.text or "") == 1 and "Α" <= (letter.text or "") <= "Ω":
            letter.set("mathvariant", "normal")
    for sign in root.iter(_tag("mo")):
        if sign.text in _BARS:  # taken for an operator where it closes, with a subscript or a power
            sign.set("lspace", "0")
            sign.set("rspace", "0")
            # Browsers stretch the bar that opens a norm, and not the one with a subscript that closes it.
            sign.set("stretchy", sign.get("stretchy", "false"))
    if continues and len(row := root[0]) and row[0].tag == _tag("mo"):
        row[0].set("form", "infix")
    return root


def _text(root: ET.Element) -> str:
    ET.register_namespace("", _MATHML)
    return ET.tostring(root, encoding="unicode").replace(f' xmlns="{_MATHML}"', "")


def _pieces(root: ET.Element) -> list[ET.Element]:
    """A formula cut where it may be broken, each piece a formula; in sequence they look as the whole does."""
    pieces, fences, previous = [ET.Element(_tag("mrow"))], [], None
    for element in _words_apart(root[0]):
        sign = (element.text or "").strip() if element.tag == _tag("mo") else ""
        joins = sign in _RELATIONS or (sign in _SIGNS and _ends_a_term(previous))
        letters = _letters(pieces[-1])
        long = len(pieces) == 1 or letters >= _SHORTEST
        said = element.tag == _tag("mtext") or (previous is not None and previous.tag == _tag("mtext"))
        if not fences and letters and ((joins and long) or said or _is_wide(previous)):
            pieces.append(ET.Element(_tag("mrow")))
            if joins:
                element.set("form", "infix")
        closes = (element[0].text or "").strip() if len(element) else sign  # with a power, or without
        if fences and closes == _CLOSING[fences[-1]]:
            fences.pop()
        elif sign in _CLOSING:
            fences.append(sign)
        pieces[-1].append(element)
        previous = element
    found = []
    for piece in pieces:
        found.append(ET.Element(root.tag, root.attrib))
        found[-1].append(piece)
    return found


def _balanced(statement: str) -> list[str]:
    """The lines of a statement, joined until their braces and their left and right delimiters pair up."""
    found, open_line = [], ""
    for line in statement.strip().splitlines():
        open_line = f"{open_line} {line.strip()}".strip()
        bare = re.sub(r"\\[{}]", "", open_line)
        paired = len(re.findall(r"\\(?:left|begin)(?![A-Za-z])", bare)) == len(
            re.findall(r"\\(?:right|end)(?![A-Za-z])", bare)
        )
        if paired and bare.count("{") == bare.count("}"):
            found.append(open_line)
            open_line = ""
    return [*found, open_line] if open_line else found


def _words_apart(row: ET.Element) -> list[ET.Element]:
    """The elements of a row, with one text for each word of a text."""
    found = []
    for element in row:
        words = re.findall(r"(?:^\s+)?\S+\s*", element.text or "") if element.tag == _tag("mtext") else []
        for word in words:
            found.append(ET.Element(element.tag, element.attrib))
            found[-1].text = word
        if not words:
            found.append(element)
    return found


def _ends_a_term(element: ET.Element | None) -> bool:
    return element is not None and (element.tag != _tag("mo") or (element.text or "").strip() in _CLOSING.values())


def _is_wide(space: ET.Element | None) -> bool:
    width = "" if space is None or space.tag != _tag("mspace") else space.get("width", "")
    return width.endswith("em") and float(width[:-2]) >= 1  # negative thin space has a name for a width


def _letters(row: ET.Element) -> int:
    return sum(1 for e in row.iter() if (e.text or "").strip())


def _join_letters(row: ET.Element) -> None:
    """Letters of one upright name, as \\mathrm gives them, become one word: a row of `risk`, not r, i, s, k."""
    letters = list(row)
    upright = [e.tag == _tag("mi") and e.get("mathvariant") == "normal" and not len(e) for e in letters]
    if len(letters) > 1 and all(upright):
        word = ET.Element(_tag("mi"))
        word.text = "".join(e.text or "" for e in letters)
        row[:] = [word]


def _close_up(row: ET.Element) -> None:
    """No space around a slash, nor between a function's name and its parenthesis, as TeX sets them."""
    for i, sign in enumerate(row):
        if sign.tag != _tag("mo"):
            continue
        if sign.text == "/":
            sign.set("lspace", "0")
            sign.set("rspace", "0")
            # Browsers stretch the bar that opens a norm, and not the one with a subscript that closes it.
            sign.set("stretchy", sign.get("stretchy", "false"))
        elif (sign.text or "").isalpha() and i + 1 < len(row) and row[i + 1].text == "(":
            sign.set("lspace", "0.167em")
            sign.set("rspace", "0")


def _group_tall_fences(row: ET.Element) -> None:
    """A power of a tall parenthesis becomes one of all that it closes; on its own it is not drawn tall."""
    opened: list[tuple[str, int]] = []
    out: list[ET.Element] = []
    for element in row:
        scripted = element.tag in (_tag("msup"), _tag("msub"), _tag("msubsup"))
        fence = element[0] if scripted else element
        sign = (fence.text or "") if fence.tag == _tag("mo") else ""
        closes = bool(opened) and (_CLOSING.get(opened[-1][0]) == sign)
        out.append(element)
        if closes:
            begin = opened.pop()[1]
            if scripted and fence.get("minsize"):
                group = ET.Element(_tag("mrow"))
                group[:] = [*out[begin:-1], fence]
                element[0] = group
                del out[begin:-1]
        elif sign in _CLOSING and not scripted:
            opened.append((sign, len(out) - 1))
    row[:] = out


def _tag(name: str) -> str:
    return f"{{{_MATHML}}}{name}"
