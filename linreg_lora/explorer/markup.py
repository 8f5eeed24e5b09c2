"""HTML and CSS of the page. Panel draws every component in a shadow root of its own, so each gets its own sheet."""

import html

from linreg_lora.figures import style

_FONT = "font-family: Helvetica, Arial, sans-serif;"
_LORA, _FULL, _FLOOR = style.COMPARED[3].color, style.REFERENCE.color, style.COMPARED[2].color

#: The document itself.
DOCUMENT = "body { margin: 0; background: #f4f5f7; } * { box-sizing: border-box; }"
PAGE = ":host { display: block; max-width: 1240px; margin: 0 auto; padding: 12px 16px 24px; }"
_CARD = "background: white; border: 1px solid #dfe2e6; border-radius: 8px;"
CONTROLS = f"""
:host {{ {_CARD} flex: 1 1 280px; max-width: 320px; padding: 12px 16px 14px; }}
@media (max-width: 880px) {{ :host {{ max-width: none; flex-basis: 100%; order: 2; }} }}
"""
PLOTS = f"""
:host {{ {_CARD} flex: 3 1 480px; width: auto !important; min-width: 0; padding: 14px 14px 6px; }}
@media (max-width: 880px) {{ :host {{ flex-basis: 100%; order: 1; padding: 10px 4px 4px; }} }}
"""
WIDGET = f":host {{ {_FONT} }} label, input, select, button {{ {_FONT} }} .bk-input {{ color: #222; }}"
#: Names that screen readers read and nobody sees, of a box and of its spin buttons.
SPINS = """
.bk-spin-btn-up::before { content: "" / "increase" !important; }
.bk-spin-btn-down::before { content: "" / "decrease" !important; }
"""
NAMED = f"""
.bk-input-group > label {{ position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }}
{SPINS}"""
#: Check boxes in columns.
BOXES = """
.bk-input-group { display: grid; grid-template-columns: repeat(auto-fill, minmax(118px, 1fr)); gap: 2px 8px; }
label { display: flex; align-items: center; gap: 6px; font-size: 13px; color: #222; }
label span { margin: 0 !important; top: 0 !important; }
input { margin: 0 !important; }
"""
#: A file input under its name.
FILE = (
    f":host {{ {_FONT} font-size: 13px; color: #222; }} input {{ {_FONT} display: block; width: 100%; margin: 3px 0; }}"
)
BAR = f"progress {{ height: 10px; width: 100%; accent-color: {_LORA}; }}"
TEXT = f"""
:host {{ {_FONT} color: #222; }}
h1 {{ font-size: 21px; line-height: 1.25; margin: 4px 0 4px; }}
p {{ font-size: 14px; line-height: 1.45; margin: 0 0 8px; color: #444; }}
h2 {{ font-size: 14px; margin: 14px 0 8px; padding-top: 12px; border-top: 1px solid #e3e5e8; }}
.refusal {{ border-left: 4px solid {_FLOOR}; background: #fdf1ea; padding: 8px 10px; margin-bottom: 8px;
  font-size: 14px; color: #222;
  overflow-wrap: anywhere; }}
.summary {{ font-size: 15px; line-height: 1.4; color: #222; margin: 0 6px 8px; min-height: 1.4em; }}
@media (max-width: 480px) {{ .summary {{ min-height: 4.2em; }} }}
.aside {{ font-size: 13px; margin: 0 6px 4px; color: #444; overflow-wrap: anywhere; }}
.note {{ font-size: 13px; color: #444; min-height: 1.3em; }}
.legend {{ display: flex; flex-wrap: wrap; gap: 2px 18px; font-size: 13px; margin: 0 6px 6px; }}
.legend span {{ display: inline-flex; align-items: center; gap: 6px; white-space: nowrap; }}
"""
HEAD = """<h1>LoRA against full fine-tuning, in linear regression</h1>
<p>y = (A<sub>0</sub> + \u0394) x + \u03b5, n samples. Full fine-tuning (FFT) fits the update by least squares, LoRA by
least squares of rank at most r. Excess risk is what the fitted map loses on new inputs. Curves are theory; simulate to
check them. The address of this page keeps the setting. Your own data get the same plot, by leaving rows out.</p>"""


def _line(color: str, dash: str, width: float = 2.5) -> str:
    return (
        f'<svg width="30" height="10"><line x1="1" y1="5" x2="29" y2="5" stroke="{color}" stroke-width="{width}" '
        f'stroke-dasharray="{dash}"/></svg>'
    )


LEGEND = f"""<div class="legend">
<span>{_line(_LORA, "none")}LoRA</span>
<span>{_line(_FULL, "7 4")}FFT</span>
<span>{_line(_FLOOR, "2 3")}least of any update of rank r</span>
<span><svg width="16" height="16"><path d="M8 1v14M5 1h6M5 15h6" stroke="#222"/><rect x="4.5" y="4.5" width="7"
height="7" fill="white" stroke="#222"/></svg>simulated</span>
<span><svg width="10" height="16"><path d="M5 0v16" stroke="#595959"/></svg>this n</span>
<span><svg width="10" height="16"><path d="M5 0v16" stroke="#595959" stroke-dasharray="2 3"/></svg>n = dx</span>
<span><svg width="16" height="12"><rect width="16" height="12" fill="#d9d9d9"/></svg>no mean exists</span>
<span><svg width="34" height="12"><circle cx="7" cy="6" r="3.5" fill="white" stroke="{_LORA}" stroke-width="1.5"/>
<rect x="18" width="16" height="12" fill="#f1efe6"/></svg>theory may be off by more than 1&nbsp;%</span>
</div>"""


OWN_LEGEND = f"""<div class="legend">
<span>{_line(_LORA, "none")}LoRA, left out in turn &plusmn; 2 standard errors</span>
<span>{_line(_LORA, "5 3", 1.5)}expected of Gaussian data like these</span>
<span>{_line(_FULL, "7 4")}FFT</span>
<span>{_line(_FLOOR, "8 3 2 3")}FFT with its best ridge</span>
<span>{_line("#595959", "2 3")}no adaptation</span>
<span><svg width="16" height="16"><path d="M8 1l2 5h5l-4 3.4 1.6 5.3L8 11.6 3.4 14.7 5 9.4 1 6h5z" fill="#F0E442"
stroke="#222"/></svg>chosen</span>
</div>"""


def refusal(message: str) -> str:
    """An error, in one line as the command line gives it."""
    return f'<div class="refusal" role="alert">{html.escape(message)}</div>'


def summary(text: str) -> str:
    """What the curves say."""
    return f'<div class="summary">{html.escape(text)}</div>'


def aside(text: str) -> str:
    """A line in small print below a plot."""
    return f'<p class="aside">{html.escape(text)}</p>'


def said(sentences: list[str]) -> str:
    """What follows from the user's data: the verdict, and the rest in small print."""
    verdict, *rest = sentences
    return summary(verdict) + "".join(aside(line) for line in rest)


def note(text: str) -> str:
    """Small print."""
    return f'<div class="note">{html.escape(text)}</div>'


def rule(title: str) -> str:
    """A line above the next group of controls, and its name."""
    return f"<h2>{html.escape(title)}</h2>"
