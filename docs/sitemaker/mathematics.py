"""Formulas of rendered pages -> MathML, which browsers typeset without a script and without fonts from elsewhere."""

import re
from html import unescape

from linreg_lora.report_page import formulas

_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', flags=re.DOTALL)
_DISPLAYED = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', flags=re.DOTALL)
#: Formulas within a line of more characters of LaTeX may be wider than a phone, which cannot break them.
_WIDE = 40
_BARE = re.compile(r"\\\((.*?)\\\)", flags=re.DOTALL)


def typeset(html: str) -> str:
    """Raises `ValueError` for a formula that cannot be converted: no page shows LaTeX."""
    return _INLINE.sub(lambda found: _inline(found[1]), _DISPLAYED.sub(lambda found: _displayed(found[1]), html))


def typeset_title(title: str) -> str:
    """The same in an entry of a table of contents, where formulas stand without their elements."""
    return _BARE.sub(lambda found: _inline(found[1]), title)


def _inline(escaped: str) -> str:
    latex = unescape(escaped).strip()
    try:
        made = formulas.mathml(latex).replace('display="block"', 'display="inline"', 1)
        return f'<span class="wide">{made}</span>' if len(latex) > _WIDE else made
    except ValueError as error:
        raise ValueError(f"${latex}$: {error}") from error


def _displayed(escaped: str) -> str:
    latex = unescape(escaped).strip()
    try:
        formulas.mathml(latex)
    except ValueError as error:
        raise ValueError(f"$${latex}$$: {error}") from error
    return f'<div class="formula">{"".join(formulas.lines(latex))}</div>'
