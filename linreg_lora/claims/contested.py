"""Contested questions: what sources answer differently, and under which condition each answer is right.

The questions of this package are in `contested.yaml`, for every claims file to answer; a file can ask its own, under
`questions`.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from linreg_lora.errors import InvalidInput
from linreg_lora.files import yaml
from linreg_lora.files.models import Strict, validated

_OWN = Path(__file__).with_name("contested.yaml")


class Question(Strict):
    """A question that sources answer differently, by the `id` that claims answer it under."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    asks: str = Field(min_length=1)


class Answer(Strict):
    """What a claim answers to a contested question.

    `answer`: in a few words. `under`: where a claim that holds is right, that is what its statement or its domain
    presupposes; other claims say it in their condition, their correction, their counterexample or their reason.
    """

    question: str
    answer: str = Field(min_length=1)
    under: str = ""


class _Questions(Strict):
    questions: list[Question]


@functools.cache
def own_questions() -> tuple[Question, ...]:
    """The questions of this package, in the order of their file."""
    return tuple(validated(_Questions, yaml.read(_OWN, "questions", largest=100_000), what="questions").questions)


def all_questions(asked: Sequence[Question]) -> list[Question]:
    """The questions of this package, and those that files ask, each once by its id."""
    return list({question.id: question for question in (*own_questions(), *asked)}.values())


def require_questions(asked: Sequence[Question], answers: Sequence[Answer]) -> None:
    """Refuse a question that is asked already, and an answer to one that nobody asks."""
    ids = [question.id for question in (*own_questions(), *asked)]
    for name in ids:
        if ids.count(name) > 1:
            raise InvalidInput("questions", "ids of their own", name, "it is asked already")
    for answer in answers:
        if answer.question not in ids:
            remedy = "or ask it under questions"
            raise InvalidInput("contested.question", f"one of {', '.join(ids)}", answer.question, remedy)
