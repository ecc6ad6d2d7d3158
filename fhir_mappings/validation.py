"""What pydantic finds wrong with a file or message, in sentences of our own: the place, what is expected, what was found.

Every package says it through this module; it lies in the lowest one since all may import that.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Place = tuple[int | str, ...]

_NUMBER, _WHOLE, _TEXT = "a number", "a whole number", "text"
_DATE, _TIME, _LENGTH = (
    "a date such as 2026-01-31",
    "a time such as 2026-01-31T12:00:00Z",
    "a length of time in seconds",
)
_LIST, _FIELDS, _BYTES = "a list", "named fields", "bytes"

_EXPECTED: dict[str, str] = {
    "string_too_short": "text of at least {min_length} characters",
    "string_too_long": "text of at most {max_length} characters",
    "string_pattern_mismatch": "text of the form {pattern}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "union_tag_invalid": "one of {expected_tags}",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "too_short": "at least {min_length} entries",
    "too_long": "at most {max_length} entries",
    "finite_number": "a finite number",
    "none_required": "nothing",
    "json_invalid": "JSON",
    "json_type": "JSON",
} | {
    name: words
    for words, names in {
        _TEXT: "string_type string_sub_type string_unicode string_not_ascii",
        _WHOLE: "int_type int_parsing int_parsing_size int_from_float",
        _NUMBER: "float_type float_parsing decimal_type decimal_parsing",
        "true or false": "bool_type bool_parsing",
        _LIST: "list_type tuple_type set_type frozen_set_type iterable_type",
        _FIELDS: "dict_type mapping_type model_type model_attributes_type dataclass_type",
        _BYTES: "bytes_type",
        _DATE: "date_type date_parsing date_from_datetime_parsing date_from_datetime_inexact",
        _TIME: "datetime_type datetime_parsing datetime_from_date_parsing datetime_object_invalid time_type time_parsing "
        "timezone_aware timezone_naive",
        _LENGTH: "time_delta_type time_delta_parsing",
        "a path": "path_type",
        "an address such as https://example.org": "url_type url_parsing url_syntax_violation url_scheme url_too_long",
    }.items()
    for name in names.split()
}
"""Kind of fault -> what is expected; names in braces are pydantic's context of the fault."""

_SCALARS = {"str", "int", "float", "bool", "date", "datetime"}
"""Last steps of a place by which pydantic tells alternatives of one field apart."""
_RIGHT_KIND = {
    "literal_error",
    "enum",
    "union_tag_invalid",
    "string_pattern_mismatch",
    "string_too_short",
    "string_too_long",
    "greater_than",
    "greater_than_equal",
    "less_than",
    "less_than_equal",
    "multiple_of",
}
"""Kinds of fault in which text or a number stands where one should: only which one is wrong."""
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "nothing"),
    (bool, "true or false"),
    ((int, float), _NUMBER),
    (str, _TEXT),
    ((list, tuple, set, frozenset), _LIST),
    ((dict, BaseModel), _FIELDS),
)
"""Kind of what was found -> how it is called where it may not be quoted."""
_LONGEST_QUOTED = 40


def describe(error: ValidationError, model: type[BaseModel] | None = None, *, quote: bool = False) -> str:
    """Every problem on one line, as ``path.of.field: expected ..., found ...``.

    ``model`` lets unknown names be answered with the known ones. Found values are not repeated, only what kind they
    are of, unless ``quote`` says that they may be: where a person wrote them, and no patient's data or secret can be
    among them. A problem that several fields share is said once; that a list is too short since its entries are
    wrong is not said.
    """
    return explain(error.errors(include_url=False), model, quote=quote)


def explain(
    problems: Sequence[ErrorDetails], model: type[BaseModel] | None = None, *, quote: bool = False
) -> str:
    """`describe` for problems that are not held by a ValidationError."""
    said: dict[str, list[str]] = {}
    for places, message in _sentences(problems, model, quote):
        said.setdefault(message, []).append(places)
    return "; ".join(f"{', '.join(where)}: {message}" for message, where in said.items())


def _sentences(
    problems: Sequence[ErrorDetails], model: type[BaseModel] | None, quote: bool
) -> Iterator[tuple[str, str]]:
    """Place and message of each problem; what pydantic says of each alternative of one field is one problem."""
    places = [problem["loc"] for problem in problems]
    fields: dict[Place, list[ErrorDetails]] = {}
    for problem, place in zip(problems, places, strict=True):
        alternative = bool(place) and place[-1] in _SCALARS and [p[:-1] for p in places].count(place[:-1]) > 1
        fields.setdefault(place[:-1] if alternative else place, []).append(problem)
    for place, found in fields.items():
        inner = any(len(other) > len(place) and other[: len(place)] == place for other in fields)
        if found[0]["type"] == "too_short" and inner:
            continue
        where, context = place, found[0].get("ctx", {})
        if found[0]["type"] in ("union_tag_invalid", "union_tag_not_found"):
            where = (*place, context["discriminator"].strip("'"))
        yield _path(where), _message(found, where, model, quote)


def _path(place: Place) -> str:
    return ".".join(str(step) for step in place) or "as a whole"


def _message(
    alternatives: list[ErrorDetails], place: Place, model: type[BaseModel] | None, quote: bool
) -> str:
    problem = alternatives[0]
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in ("missing", "union_tag_not_found", "missing_argument", "missing_keyword_only_argument"):
        return "missing; give it"
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        known = ", ".join(_known(model, place)) if model else ""
        return "no such field; " + (
            f"known here are {known}" if known else "correct its name or leave it out"
        )
    if kind in ("value_error", "assertion_error") and "error" in context:
        return str(context["error"])
    expected = [words for one in alternatives if (words := _expected(one))]
    if not expected:
        return f"cannot be used as it is ({kind.replace('_', ' ')}); correct it"
    return f"expected {' or '.join(dict.fromkeys(expected))}{_found(problem, quote)}"


def _expected(problem: ErrorDetails) -> str | None:
    words = _EXPECTED.get(problem["type"])
    if words is None:
        return None
    words = words.format(**problem.get("ctx", {}))
    return words.replace(" 1 entries", " 1 entry").replace(" 1 characters", " 1 character")


def _found(problem: ErrorDetails, quote: bool) -> str:
    """``, found ...``: what stands there if it may be quoted and is short, else its kind if that is what is wrong."""
    kind, value = problem["type"], problem["input"]
    if kind == "union_tag_invalid":
        value = problem["ctx"]["tag"]
    if quote and isinstance(value, (str, int, float)) and len(repr(value)) <= _LONGEST_QUOTED:
        return f", found {value!r}"
    if isinstance(value, (str, int, float)) and not isinstance(value, bool) and kind in _RIGHT_KIND:
        return f", found {len(value)}" if isinstance(value, str) and kind.startswith("string_too") else ""
    if isinstance(value, (list, tuple)) and kind in ("too_short", "too_long"):
        return f", found {len(value)}"
    return ", found " + next((words for kinds, words in _KINDS if isinstance(value, kinds)), "something else")


# -- names a model knows


def _known(model: type[BaseModel], place: Place) -> list[str]:
    """Names of the fields that may stand where ``place`` names one that may not."""
    here = [model]
    for step in place[:-1]:
        inner = [one for owner in here if step in owner.model_fields for one in _within(owner, str(step))]
        here = inner or [one for one in here if _tagged(one, step)] or here
    return list(dict.fromkeys(name for one in here for name in one.model_fields))


def _within(owner: type[BaseModel], field: str) -> list[type[BaseModel]]:
    return list(_models(owner.model_fields[field].annotation))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every model inside a type, whatever lists, unions and annotations it is wrapped in."""
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _tagged(model: type[BaseModel], tag: int | str) -> bool:
    """Whether a field of the model may only hold ``tag``, by which pydantic tells alternatives apart."""
    annotations = [field.annotation for field in model.model_fields.values()]
    return any(get_origin(one) is Literal and tag in get_args(one) for one in annotations)
