"""What is wrong with a file, said without the words of the library that found it."""

import re
from datetime import date
from typing import Annotated, Literal, get_args

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core.core_schema import ErrorType

from fhir_mappings.validation import describe, explain

LIBRARY = re.compile(
    r"Input|Value error|Extra inputs|Field required|should|[Vv]alid|parse|Tuple|List|String|Decimal"
)


class Base(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Cat(Base):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=1, le=9)]


class Dog(Base):
    kind: Literal["dog"]
    born: date


class Home(Base):
    name: Annotated[str, Field(min_length=1, pattern="^[a-z]*$")] = "a"
    pets: Annotated[tuple[Annotated[Cat | Dog, Field(discriminator="kind")], ...], Field(min_length=1)]
    rooms: dict[str, str | int] = {}
    mode: Literal["in", "out"] | None = None

    @field_validator("name")
    @classmethod
    def _spoken(cls, value: str) -> str:
        if value == "zzz":
            raise ValueError("not a name anybody can say")
        return value


CAT = {"kind": "cat", "lives": 3}


@pytest.mark.parametrize(
    ("value", "says", "quoted"),
    [
        ({}, "pets: missing; give it", None),
        ([], "as a whole: expected named fields, found a list", None),
        ({"pets": []}, "pets: expected at least 1 entry, found 0", None),
        ({"pets": CAT}, "pets: expected a list, found named fields", None),
        ({"pets": [CAT], "nam": 1}, "nam: no such field; known here are name, pets, rooms, mode", None),
        ({"pets": [CAT | {"age": 1}]}, "pets.0.cat.age: no such field; known here are kind, lives", None),
        (
            {"pets": [{"kind": "cow"}, {"kind": "cow"}]},
            "pets.0.kind, pets.1.kind: expected one of 'cat', 'dog'",
            "pets.0.kind, pets.1.kind: expected one of 'cat', 'dog', found 'cow'",
        ),
        ({"pets": [{}]}, "pets.0.kind: missing; give it", None),
        (
            {"pets": [CAT | {"lives": 0}]},
            "pets.0.cat.lives: expected a number of at least 1",
            "pets.0.cat.lives: expected a number of at least 1, found 0",
        ),
        ({"pets": [CAT | {"lives": None}]}, "pets.0.cat.lives: expected a whole number, found nothing", None),
        (
            {"pets": [{"kind": "dog", "born": "soon"}]},
            "pets.0.dog.born: expected a date such as 2026-01-31, found text",
            "pets.0.dog.born: expected a date such as 2026-01-31, found 'soon'",
        ),
        (
            {"pets": [CAT], "name": "Ä" * 99},
            "name: expected text of the form ^[a-z]*$",
            None,
        ),
        (
            {"pets": [CAT], "name": ""},
            "name: expected text of at least 1 character, found 0",
            "found ''",
        ),
        ({"pets": [CAT], "name": "zzz"}, "name: not a name anybody can say", None),
        (
            {"pets": [CAT], "rooms": {"a": []}},
            "rooms.a: expected text or a whole number, found a list",
            None,
        ),
        ({"pets": [CAT], "mode": True}, "mode: expected 'in' or 'out', found true or false", "found True"),
    ],
)
def test_places_expectations_and_finds(value, says, quoted):
    with pytest.raises(ValidationError) as caught:
        Home.model_validate(value)
    assert describe(caught.value, Home) == says
    assert describe(caught.value, Home, quote=True).endswith(quoted or says)


def test_unknown_names_without_a_model():
    with pytest.raises(ValidationError) as caught:
        Home.model_validate({"pets": [CAT], "nam": 1})
    assert describe(caught.value) == "nam: no such field; correct its name or leave it out"


CONTEXT: dict[str, object] = {
    **dict.fromkeys(("gt", "ge", "lt", "le", "min_length", "max_length", "multiple_of"), 1),
    **dict.fromkeys(("pattern", "expected", "discriminator", "tag", "expected_tags"), "x"),
    "error": ValueError("our own words"),
}


@pytest.mark.parametrize("kind", get_args(ErrorType))
def test_no_fault_is_told_in_the_librarys_words(kind):
    problem = {"type": kind, "loc": ("a",), "msg": "Input should be a valid X", "input": [], "ctx": CONTEXT}
    assert not LIBRARY.search(explain([problem]).replace(kind.replace("_", " "), ""))
