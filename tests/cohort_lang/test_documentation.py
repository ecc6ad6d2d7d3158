"""The language's page: its examples are read, its tables are complete."""

import re
from pathlib import Path
from typing import get_args

import pytest

from cohort_lang import format_cohort, lint, parse
from cohort_lang.tree import Domain
from cohort_lang.variables import RecordDomain, Variable

PAGE = (Path(__file__).parents[2] / "docs" / "cohort-language.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```cohort\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_are_read_and_sound(text):
    cohort = parse(text)
    assert parse(format_cohort(cohort)) == cohort
    assert [remark for remark in lint(cohort) if remark.severity == "error"] == []


def test_the_first_example_is_canonical_and_without_remarks():
    assert format_cohort(parse(EXAMPLES[0])) == EXAMPLES[0]
    assert lint(parse(EXAMPLES[0])) == []


def test_every_kind_of_record_and_variable_is_listed():
    for domain in (*get_args(Domain), *get_args(RecordDomain)):
        assert f"| `{domain}`" in PAGE, domain
    for kind in get_args(get_args(Variable)[0]):
        assert f"`{get_args(kind.model_fields['kind'].annotation)[0]}`" in PAGE


def test_every_lint_is_listed():
    import cohort_lang.lints

    folder = Path(cohort_lang.lints.__file__).parent
    texts = [path.read_text(encoding="utf-8") for path in folder.glob("*.py")]
    codes = {code for text in texts for code in re.findall(r'(?:error|warning)\(\s*"([a-z-]+)"', text)}
    assert {code for code in codes if f"`{code}`" not in PAGE} == set()


@pytest.mark.parametrize(
    "window", re.findall(r"`([^`]*index[^`]*|at any time)`", PAGE.split("| written |")[1].split("\n\n")[0])
)
def test_every_window_of_the_table_is_read(window):
    assert parse(f'cohort "c" enter on visit require "r": visit {window}').rules[0].criterion.windows
