"""Each lint speaks where it should and is silent where it should be: a wrong and a right text a code."""

import pytest

from cohort_lang import ConceptFacts, lint, lint_variables, parse
from cohort_lang.variables import DayWindow, Presence

SETS = 'cohort "c"\nconcept set a: 1\n'
ENTRY = "enter on condition of a with 365 days of prior observation\n"
RULE = SETS + ENTRY + 'require "r": '

# code: (wrong, right)
PAIRS = {
    "empty-concept-set": (
        'cohort "c" concept set a: not 1 enter on condition of a',
        'cohort "c" concept set a: 2, not 1 enter on condition of a',
    ),
    "unused-concept-set": (SETS + "enter on visit", SETS + "enter on condition of a"),
    "cancelled-concept": (
        'cohort "c" concept set a: 1 and descendants, not 1 enter on condition of a',
        'cohort "c" concept set a: 1 and descendants, not 2 enter on condition of a',
    ),
    "repeated-concept": (
        'cohort "c" concept set a: 1, 1 and descendants enter on condition of a',
        'cohort "c" concept set a: 1, 2 enter on condition of a',
    ),
    "concept-zero": (
        'cohort "c" concept set a: 0 enter on condition of a',
        'cohort "c" concept set a: 1 enter on condition of a',
    ),
    "any-record": (SETS + "enter on condition", SETS + "enter on visit or condition recorded as a"),
    "first-without-history": (
        SETS + "enter on first condition of a",
        SETS + "enter on first condition of a with 1 day of prior observation",
    ),
    "no-window": (RULE + "condition of a", RULE + "condition of a at any time"),
    "reversed-window": (
        RULE + "condition of a 1 day before to 2 days before index",
        RULE + "condition of a 2 days before to 1 day before index",
    ),
    "unobserved-look-back": (
        RULE + "condition of a 366 days before to index",
        RULE + "condition of a 365 days before to index",
    ),
    "after-index": (
        RULE + "condition of a any time after index",
        RULE + "condition of a any time before or on index",
    ),
    "later-observation": (SETS + "enter on condition of a with 30 days of later observation", SETS + ENTRY),
    "latest-event": (SETS + ENTRY + "keep last entry", SETS + ENTRY + "keep every entry"),
    "reversed-range": (RULE + "age 65 to 18", RULE + "age 18 to 65"),
    "impossible-age": (RULE + "age 131 or more", RULE + "age 130 or less"),
    "pointless-count": (
        RULE + "at least 0 condition of a on index",
        RULE + "at most 0 condition of a on index",
    ),
    "repeated-label": (
        RULE + 'age over 1 require "r": age over 2',
        RULE + 'age over 1 require "s": age over 2',
    ),
    "repeated-rule": (
        RULE + 'age over 1 require "s": age over 1',
        RULE + 'age over 1 require "s": age over 2',
    ),
    "contradiction": (
        RULE + 'age over 1 exclude "s": age over 1',
        RULE + 'age over 1 exclude "s": age over 2',
    ),
}


def codes(text, lookup=None):
    return {remark.code for remark in lint(parse(text), lookup)}


@pytest.mark.parametrize("code", PAIRS)
def test_each_lint(code):
    wrong, right = PAIRS[code]
    assert code in codes(wrong)
    assert code not in codes(right)


@pytest.mark.parametrize(
    ("text", "speaks"),
    [
        ('exclude "x": condition of a from index to 30 days after', True),
        ('exclude "x": any of (age over 1, condition of a on index end)', True),
        ('require "x": condition of a any time before index and ending any time after index', False),
        ('require "x": condition of a having (visit any time after that event) any time before index', False),
        ('require "x": condition of a at any time', True),
    ],
)
def test_nobody_is_classified_by_the_future(text, speaks):
    assert ("after-index" in codes(SETS + ENTRY + text)) == speaks


def test_exclusion_and_requirement_are_told_apart():
    text = 'require "x": condition of a any time after index exclude "y": condition of a 1 day after to 2 days after index'
    required, excluded = lint(parse(SETS + ENTRY + text))
    assert "immortal time" in required.message
    assert "conditions on the future" in excluded.message


def test_remarks_carry_their_place_in_the_order_of_the_text():
    found = lint(parse(SETS + "enter on condition\n" + 'require "r": age 131 or more'))
    assert [(remark.line, remark.column, remark.code) for remark in found] == [
        (2, 1, "unused-concept-set"),
        (3, 10, "any-record"),
        (4, 1, "impossible-age"),
    ]
    assert str(found[2]) == "line 4, column 1: error: age is stated with 131 years [impossible-age]"


class Vocabulary:
    FACTS = {  # noqa: RUF012
        1: ConceptFacts("Diabetes", "Condition", standard=True, valid=True),
        2: ConceptFacts("E11", "Condition", standard=False, valid=True),
        3: ConceptFacts("Old", "Condition", standard=True, valid=False),
        4: ConceptFacts("Metformin", "Drug", standard=True, valid=True),
    }

    def find(self, concept_ids):
        return {concept: self.FACTS[concept] for concept in concept_ids if concept in self.FACTS}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("concept set a: 9 enter on condition of a", "unknown-concept"),
        ("concept set a: 3 enter on condition of a", "invalid-concept"),
        ("concept set a: 4 enter on condition of a", "wrong-domain"),
        ("concept set a: 2 enter on condition of a", "not-standard"),
        ("concept set a: 2 enter on condition recorded as a", None),
        ("concept set a: 1 enter on condition of a", None),
    ],
)
def test_lints_that_ask_a_vocabulary(text, code):
    assert codes(f'cohort "c" {text}', Vocabulary()) == ({code} if code else set())


def test_variables_that_see_the_future():
    def presence(**window):
        return Presence(kind="presence", domain="condition", concepts="a", window=DayWindow(**window))

    found = lint_variables(
        {"before": presence(end=0), "after": presence(end=1), "open": presence(start=0, end=None)}
    )
    assert [remark.message for remark in found] == [
        "variable 'after' reads records from after the index date",
        "variable 'open' reads records from after the index date",
    ]


def test_every_code_has_a_pair():
    import re
    from pathlib import Path

    import cohort_lang.lints

    folder = Path(cohort_lang.lints.__file__).parent
    texts = [path.read_text() for path in folder.glob("*.py") if path.stem != "vocabulary"]
    written = {code for text in texts for code in re.findall(r'(?:error|warning)\(\s*"([a-z-]+)"', text)}
    assert written - {"variable-after-index"} == set(PAIRS)
