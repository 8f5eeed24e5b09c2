"""What a refusal says, by its parts: a sentence may be worded anew, its field and its point may not change."""

import contextlib

import pytest

from linreg_lora.errors import InvalidInput


@contextlib.contextmanager
def refused(field, expected="", received="", remedy=""):
    """The block raises `InvalidInput` in one line, of exactly this field, and what it says holds these words."""
    with pytest.raises(InvalidInput) as caught:
        yield caught
    error = caught.value
    assert error.field == field
    assert expected in error.expected
    assert received in str(error.received)
    assert remedy in error.remedy
    assert len(str(error).splitlines()) == 1
