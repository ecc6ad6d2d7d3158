"""Every spelling means one thing, and every wrong text says where and what instead."""

import pytest

from cohort_lang import CohortSyntaxError, parse, parse_concept_sets
from cohort_lang.parsing.parser import KEPT_TEXT
from cohort_lang.tree import (
    Amount,
    Count,
    EndOfExposure,
    Event,
    FixedDays,
    Group,
    Lasting,
    SexIs,
    UnitIs,
    ValueNumber,
    Window,
)

HEAD = 'cohort "c"\nconcept set a: 1\nconcept set "b c": 2\nenter on condition of a\n'


def criterion(text):
    return parse(f'{HEAD}require "r": {text}').rules[0].criterion


def window(text):
    return criterion(f"condition of a {text}").windows[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at any time", Window()),
        ("any time before index", Window(None, -1)),
        ("any time before or on index", Window(None, 0)),
        ("any time after index", Window(1, None)),
        ("any time after or on index", Window(0, None)),
        ("ANY time on OR after Index", Window(0, None)),
        ("on index", Window(0, 0)),
        ("on index end", Window(0, 0, "start", "end")),
        ("ending on index", Window(0, 0, "end")),
        ("starting 365 days before to 1 day before index", Window(-365, -1)),
        ("from 365 days before index to 1 day before index", Window(-365, -1)),
        ("within 365 days before index", Window(-365, -1)),
        ("within 30 days after index", Window(1, 30)),
        ("within 30 days of index", Window(-30, 30)),
        ("30 days before to index", Window(-30, 0)),
        ("from index to 30 days after", Window(0, 30)),
        ("any time before to 7 days after index", Window(None, 7)),
        ("7 days after to any time after index end", Window(7, None, "start", "end")),
    ],
)
def test_windows(text, expected):
    assert window(text) == expected


@pytest.mark.parametrize(
    ("text", "op", "low", "high"),
    [
        ("18 or more", "at least", 18, None),
        ("at least 18", "at least", 18, None),
        (">= 18", "at least", 18, None),
        (">=18", "at least", 18, None),
        ("18 or less", "at most", 18, None),
        ("at most 18", "at most", 18, None),
        ("<= 18", "at most", 18, None),
        ("more than 18", "more than", 18, None),
        ("over 18", "more than", 18, None),
        ("> 18", "more than", 18, None),
        ("less than 18", "less than", 18, None),
        ("under 18", "less than", 18, None),
        ("< 18", "less than", 18, None),
        ("exactly 18", "exactly", 18, None),
        ("= 18", "exactly", 18, None),
        ("not exactly 18", "not exactly", 18, None),
        ("18 to 65", "between", 18, 65),
        ("between 18 and 65", "between", 18, 65),
        ("not 18 to 65", "not between", 18, 65),
    ],
)
def test_number_ranges(text, op, low, high):
    found = criterion(f"age {text}").range
    assert (found.op, found.low, found.high) == (op, low, high)


@pytest.mark.parametrize(
    ("text", "op"),
    [
        ("on or after 2020-02-29", "at least"),
        ("on or before 2020-02-29", "at most"),
        ("after 2020-02-29", "more than"),
        ("before 2020-02-29", "less than"),
        ("on 2020-02-29", "exactly"),
        ("not on 2020-02-29", "not exactly"),
        ("between 2020-02-29 and 2020-03-01", "between"),
        ("not between 2020-02-29 and 2020-03-01", "not between"),
    ],
)
def test_date_ranges(text, op):
    found = criterion(f"dated {text}").range
    assert (found.op, found.low.isoformat()) == (op, "2020-02-29")


def test_counts_and_domains():
    assert criterion("drug of a on index").event.domain == "drug exposure"
    assert criterion("no visits on index").count == Count("exactly", 0)
    assert criterion("at  least 2 distinct visits with drug eras of a on index").count == Count(
        "at least", 2, "visits"
    )
    assert criterion("condition eras on index").event == Event("condition era")
    assert criterion('first condition of "b c" recorded as a on index').event == Event(
        "condition", "b c", "a", first=True
    )


def test_attributes():
    of = criterion('measurement where value over 6.5 in ("%", 8554) and unit 1 on index').event.attributes
    assert isinstance(of[0], ValueNumber)
    assert of[1:] == (UnitIs(("%", 8554)), UnitIs((1,)))
    of = criterion("drug exposure where days supply 28 or more and refills under 2 on index").event.attributes
    assert [type(found) for found in of] == [Amount, Amount]
    assert isinstance(criterion("visit where lasting 2 or more days on index").event.attributes[0], Lasting)
    assert criterion("sex in (female, 8551)") == SexIs((8532, 8551))


def test_groups_and_nesting():
    found = criterion(
        "at least 1 of (age 18 or more, all of (sex male), condition having (no visit on that event) on index,)"
    )
    assert isinstance(found, Group)
    assert (found.kind, found.n, len(found.items)) == ("at least", 1, 3)
    assert found.items[2].event.having.windows == (Window(0, 0),)


def test_leaving():
    assert parse(f"{HEAD}exit 30 days after index end").exit == FixedDays(30, "end")
    found = parse(f"{HEAD}exit at end of exposure to a allowing gaps of 30 days assuming 28 days of supply")
    assert found.exit == EndOfExposure("a", 30, 0, 28)
    assert parse(HEAD).keep == "first"
    assert parse(f"{HEAD}keep every entry").keep == "all"


ERRORS = [
    ("cohort", 1, 7, "ends too early", ["a text in double quotes"]),
    ('cohort "c', 1, 8, "not closed", ["a text in double quotes"]),
    ('cohort "c"\nenter on condtion', 2, 10, "did you mean 'condition'", ["first"]),
    ('cohort "c"\nconcept set a: 1', 2, 17, "does not say when a person enters", ["enter on ..."]),
    (HEAD + "enter on drug", 5, 1, "a second 'enter'; the first is on line 4", []),
    (HEAD + "concept set a: 3", 5, 1, "declared twice; the first is on line 2", []),
    (HEAD + 'require "x": condition of aa on index', 5, 27, "'aa' is not declared; did you mean 'a'?", []),
    (HEAD + 'require "x": condition of a 30 days before', 5, 43, "ends too early", ["to"]),
    (HEAD + 'require "x": condition 30 days before to 1 day before', 5, 24, "relative to what", []),
    (HEAD + 'require "x": condition any time after to index', 5, 24, "any time before", []),
    (HEAD + 'require "x": condition 1 day before index to index end', 5, 24, "the same date", []),
    (HEAD + 'require "x": condition on that event', 5, 27, "say 'index'", []),
    (HEAD + 'require "x": visit having (visit on index)', 5, 37, "say 'that event'", []),
    (HEAD + 'require "x": age 18', 5, 20, "ends too early", ["or", "to"]),
    (HEAD + 'require "x": dated on 2021-02-29', 5, 23, "not a date of the calendar", []),
    (HEAD + 'require "x": at least 1.5 visits on index', 5, 23, "whole number", []),
    (HEAD + 'require "x": at least -1 visits on index', 5, 23, "whole number", []),
    (HEAD + 'require "": age 18 or more', 5, 9, "this text is empty", []),
    (
        HEAD + 'require "x": drug where value 5 or more on index',
        5,
        25,
        "applies to measurement, observation",
        [],
    ),
    (HEAD + 'require "x": observation period of a on index', 5, 36, "has no concept", []),
    (HEAD + 'require "x": exactly 1 of (age 18 or more)', 5, 14, "not 'exactly'", []),
    (HEAD + "study period before 2020-01-01", 5, 1, "on or after", []),
    (HEAD + "exit 40000 days after index", 5, 6, "from 0 to 36525", []),
    (HEAD + "@", 5, 1, "'@' cannot stand here", ["require", "exit"]),
    (HEAD + 'require "x": ' + "any of (" * 50, 5, 341, "nested more than 40 deep", []),
]


@pytest.mark.parametrize(("text", "line", "column", "problem", "expected"), ERRORS)
def test_errors_say_where_and_what(text, line, column, problem, expected):
    with pytest.raises(CohortSyntaxError) as caught:
        parse(text)
    error = caught.value
    assert problem in str(error)
    assert (error.line, error.column) == (line, column)
    assert set(expected) <= set(error.expected)


def test_the_whole_message():
    with pytest.raises(CohortSyntaxError) as caught:
        parse('cohort "c"\nenter on condition of a with 365 dayz of prior observation')
    assert str(caught.value) == (
        "line 2, column 34: 'dayz' cannot stand here (did you mean 'days'?); expected days\n"
        "  enter on condition of a with 365 dayz of prior observation\n"
        "                                   ^"
    )


def test_concept_sets_refuse_other_statements():
    with pytest.raises(CohortSyntaxError, match="expected"):
        parse_concept_sets("concept set a: 1\nenter on visit")


def test_a_long_text_is_refused_before_it_is_read():
    with pytest.raises(CohortSyntaxError, match="more than the 1000000 allowed"):
        parse("#" * 1_000_001)


def test_the_tree_of_a_text_is_made_once_and_a_long_text_is_not_kept():
    kept, long = HEAD + "# short\n", HEAD + "#" * KEPT_TEXT
    assert parse(kept) is parse("" + kept)
    assert parse(long) == parse(long) and parse(long) is not parse(long)
    for _ in range(2):
        with pytest.raises(CohortSyntaxError):
            parse(HEAD + "require")
