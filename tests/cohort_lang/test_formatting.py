"""Formatting is canonical and loses nothing."""

from cohort_strategies import Language
from hypothesis import HealthCheck, given, settings

from cohort_lang.formatting import format_cohort, format_concept_sets
from cohort_lang.parsing import parse, parse_concept_sets

TEXT = """
# Agreed by the diabetes working group.
cohort "Type 2 diabetes on metformin"  # version 2
described as "New users of metformin"
concept set diabetes: 201826 "Type 2 diabetes mellitus" and descendants, not 443412 and descendants
# Ingredient level; products come as descendants.
concept set metformin: 1503297 and descendants
ENTER ON first drug of metformin with 365 days of prior observation
require "Type 2 diabetes": at least 1 condition of diabetes any time before or on index
require "Adult": age >= 18   # years
exclude "Insulin before": drug exposure of metformin within 365 days before index
exit at end of observation
# The end.
"""

CANONICAL = """\
# Agreed by the diabetes working group.
# version 2
cohort "Type 2 diabetes on metformin"
described as "New users of metformin"

concept set diabetes: 201826 "Type 2 diabetes mellitus" and descendants, not 443412 and descendants
# Ingredient level; products come as descendants.
concept set metformin: 1503297 and descendants

enter on first drug exposure of metformin
  with 365 days of prior observation

require "Type 2 diabetes": at least 1 condition of diabetes any time before or on index
# years
require "Adult": age 18 or more
exclude "Insulin before": drug exposure of metformin 365 days before to 1 day before index

exit at end of observation

# The end.
"""


def test_the_canonical_text():
    assert format_cohort(parse(TEXT)) == CANONICAL


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(Language().cohorts())
def test_parsing_what_was_formatted_gives_the_same_tree(cohort):
    text = format_cohort(cohort)
    again = parse(text)
    assert again == cohort
    assert format_cohort(again) == text


def test_concept_sets_alone():
    text = 'concept set a: 1 "one" and descendants and mapped, not 2\nconcept set "b c": 3\n'
    assert format_concept_sets(parse_concept_sets(text)) == text
    assert parse_concept_sets("") == ()
