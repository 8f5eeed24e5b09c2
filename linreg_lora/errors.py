"""The errors users see. Each is one line: the field, what was expected, what was received, what to do."""

import reprlib

_LONGEST_LINE, _LONGEST_WORD, _LONGEST_FIELD, _LONGEST_VALUE = 2000, 300, 200, 80


class LinregLoraError(Exception):
    """Base of every error that this package raises on purpose."""


class InvalidInput(LinregLoraError, ValueError):
    """A value that makes no sense where it was given."""

    def __init__(self, field: str, expected: str, received: object, remedy: str = ""):
        self.field, self.expected, self.received, self.remedy = field, expected, received, remedy
        message = f"{_cut(one_line(field), _LONGEST_FIELD)}: expected {expected}, received {_brief(received)}"
        super().__init__(one_line(f"{message}; {remedy}" if remedy else message))

    def __reduce__(self):
        return type(self), (self.field, self.expected, self.received, self.remedy)


class NumericalFailure(LinregLoraError):
    """A computation whose result cannot be trusted; says which and by how much."""


class OldName(FutureWarning):
    """A file, a link or a command that says something by an old name, which still works."""


def one_line(text: str) -> str:
    """`text` on one line that can be printed, control characters escaped, what is too long without its middle."""
    words = (_cut(_escaped(word), _LONGEST_WORD) for word in text.split())
    return _cut(" ".join(words), _LONGEST_LINE)


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _cut(text: str, limit: int) -> str:
    end = limit // 4
    return text if len(text) <= limit else f"{text[: limit - end - 3]}...{text[-end:]}"


def _brief(value: object) -> str:
    try:
        text = value if isinstance(value, str) else _bounded.repr(value)
    except ValueError:  # Python refuses to print integers of more than 4300 digits
        text = "an integer of thousands of digits"
    text = one_line(text) or repr(text)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


#: repr in bounded time, also of short lists that contain one another many times: elements take three letters at least.
_bounded = reprlib.Repr()
_bounded.maxlevel = 3
_bounded.maxlist = _bounded.maxtuple = _bounded.maxdict = _bounded.maxset = _LONGEST_VALUE // 3
_bounded.maxstring = _bounded.maxlong = _bounded.maxother = _LONGEST_VALUE
