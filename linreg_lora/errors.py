"""The errors users see. Each is one line: the field, what was expected, what was received, what to do."""


class LinregLoraError(Exception):
    """Base of every error that this package raises on purpose."""


class InvalidInput(LinregLoraError, ValueError):
    """A value that makes no sense where it was given."""

    def __init__(self, field: str, expected: str, received: object, remedy: str = ""):
        self.field, self.expected, self.received, self.remedy = field, expected, received, remedy
        message = f"{field}: expected {expected}, received {_brief(received)}"
        super().__init__(f"{message}; {remedy}" if remedy else message)

    def __reduce__(self):
        return type(self), (self.field, self.expected, self.received, self.remedy)


class NumericalFailure(LinregLoraError):
    """A computation whose result cannot be trusted; says which and by how much."""


def _brief(value: object, limit: int = 80) -> str:
    try:
        text = value if isinstance(value, str) else repr(value)
    except ValueError:  # Python refuses to print integers of more than 4300 digits
        text = "an integer of thousands of digits"
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
