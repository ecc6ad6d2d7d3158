"""The steward's page: everything a decision needs, in words, and nothing that is not so."""

from __future__ import annotations

from pathlib import Path

import pytest

from governance.federation import Federation, InvestigatorEntry
from governance.run_request import Spent
from site_connector.parameter_words import parameter_words
from site_connector.review import ReviewPage, review_page
from site_connector.review_text import review_markdown
from tests.site_connector.consortium import CONCEPT_SETS, Consortium
from tests.site_connector.extract import write_extract


def page_of(consortium: Consortium, study) -> ReviewPage:
    consortium.submit(study)
    with consortium.mailbox() as mailbox:
        consortium.connector(mailbox).round()
        item = mailbox.item(study.digest, consortium.now)
        return review_page(
            consortium.federation,
            consortium.north.settings(),
            item,
            mailbox.spent(study.digest),
            consortium.now,
        )


def test_a_parameter_cannot_be_read_as_another_ones() -> None:
    strata = [
        {"levels": ["0", "1"], "variable": "kidney_disease"},
        {"cuts": [8.5], "variable": "hba1c"},
        {"levels": ["a", "b); age (cuts 65"], "variable": "stage"},
    ]
    codes = [f"code {number}" for number in range(100)]
    tiers = [{"equal": [{"levels": codes, "variable": "region"}], "name": "strict, narrow", "age": None}]
    short, in_full = parameter_words({"strata": strata, "tiers": tiers, "adjust": True, "times": []})
    assert short == {
        "strata": 'kidney_disease (levels 0, 1), hba1c (cuts 8.5), stage (levels a, "b); age (cuts 65")',
        "tiers": '"strict, narrow" (equal region (levels 100: code 0 ... code 99); age none)',
        "adjust": "yes",
        "times": "none",
    }
    assert in_full == {'tiers 1, "strict, narrow", equal 1, region, levels': ", ".join(codes)}


def test_the_page_says_what_three_nodes_do_not_protect_from(loaded: Consortium) -> None:
    study = loaded.study()
    page_of(loaded, study)
    value = loaded.federation.model_dump(mode="json")
    three = Federation.from_value({**value, "protocol": "rep3", "nodes": value["nodes"][:3]})
    with loaded.mailbox() as mailbox:
        item = mailbox.item(study.digest, loaded.now)
        spent = mailbox.spent(study.digest)
    text = review_markdown(review_page(three, loaded.north.settings(), item, spent, loaded.now))
    for expected in (
        "rep3, a semi-honest protocol among three",
        "Any two of Operator 0, Operator 1 and Operator 2 together could reconstruct",
        "An operator who deviates from the protocol is not detected",
    ):
        assert expected in text


def test_the_page_says_whose_key_proposes_the_study(loaded: Consortium) -> None:
    study = loaded.study()
    page = page_of(loaded, study)
    assert page.investigator.startswith("PI, University, by the study's own word alone")
    key = study.investigator.key
    entry = InvestigatorEntry(id="cardiology", organisation="Institute of Cardiology", signing_key=key)
    listing = loaded.federation.model_copy(update={"investigators": (entry,)})
    with loaded.mailbox() as mailbox:
        item = mailbox.item(study.digest, loaded.now)
    page = review_page(listing, loaded.north.settings(), item, Spent(), loaded.now)
    known = "whose key the federation file lists as cardiology of Institute of Cardiology"
    assert page.investigator == f"PI, University, {known}"


def test_everything_a_decision_needs(loaded: Consortium) -> None:
    study = loaded.study()
    page = page_of(loaded, study)
    assert page.may_approve, page.verdicts
    assert page.digest == study.digest
    assert page.site_name == "Hospital north"
    assert [table.rows for table in page.tables] == [4, 24]
    assert [table.shared_rows for table in page.tables] == [4, 1024]
    (cohort,) = page.cohorts
    assert cohort.here is not None
    assert [step.persons for step in cohort.here.attrition] == [40, 30, 24]
    assert cohort.here.emptied_by is None
    text = review_markdown(page)
    for expected in (
        "# Metformin in type 2 diabetes",
        study.digest,
        "GDPR 9(2)(j)",
        "2026-17",
        "- year: calendar year of the index date",
        "the last drug exposure record from the index date to 90 days after the index date",
        "| ranking | people (one row a person) | 24 | 1024 | 4 |",
        "- researcher: researcher, University; 5 runs left",
        "Numbers below 10 are withheld",
        "Any two of Operator 0, Operator 1, Operator 2 and Operator 3 together could reconstruct",
        "Valid from 1 January 2026 to 31 December 2026",
        "- south: waiting",
        "| On metformin | 24 |",
    ):
        assert expected in text
    assert "**NO**" not in text


def test_the_criterion_that_empties_a_cohort_and_the_codes_behind_it(
    consortium: Consortium, tmp_path: Path
) -> None:
    """All metformin of this hospital carries a local code that no concept stands for."""
    consortium.load(write_extract(tmp_path / "unmapped", metformin=0))
    page = page_of(consortium, consortium.study())
    (cohort,) = page.cohorts
    assert cohort.here is not None
    assert cohort.here.emptied_by == "On metformin"
    assert [(one.domain, one.code, one.records) for one in cohort.here.unmapped] == [
        ("drug exposure", "LOCAL-METF", 34)
    ]
    text = review_markdown(page)
    assert "**Nobody is left after: On metformin**" in text
    assert "| drug exposure | LOCAL-METF | 34 | 34 |" in text


def test_a_feasibility_study_shows_its_bounds(loaded: Consortium) -> None:
    page = page_of(loaded, loaded.feasibility())
    assert page.concept_sets == CONCEPT_SETS
    assert page.tables == ()
    text = review_markdown(page)
    assert "Cohorts that may be counted use only these concept sets" in text
    assert "2 left counted by this hospital" in text


def test_exact_release_is_pointed_out(loaded: Consortium) -> None:
    page = page_of(loaded, loaded.study(disclosure={"release": "exact"}, synthetic_data=True))
    text = review_markdown(page)
    assert "The study declares its data synthetic." in text
    assert "Exact numbers" in text
    assert "- **NO**: The data loaded here are synthetic or public" in text


def test_before_the_dry_run_nothing_speaks_for_approval(consortium: Consortium) -> None:
    page = page_of(consortium, consortium.study())
    assert not page.may_approve
    assert "- **NO**: Dry run on this hospital's data succeeded" in review_markdown(page)


def test_runs_left_follow_the_hospitals_own_account(loaded: Consortium) -> None:
    study = loaded.submit(loaded.feasibility())
    with loaded.mailbox() as mailbox:
        loaded.connector(mailbox).round()
        item = mailbox.item(study.digest, loaded.now)
    page = review_page(loaded.federation, loaded.north.settings(), item, Spent(runs=2), loaded.now)
    assert [person.runs_left for person in page.recipients] == [0]


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ({"kind": "age"}, "age at the index date, in whole years"),
        ({"kind": "sex"}, "recorded sex"),
        (
            {
                "kind": "presence",
                "domain": "condition",
                "concepts": "Stroke",
                "window": {"start": -365, "end": -1},
            },
            "whether there is a condition record of “Stroke” from 365 days before the index date to 1 day "
            "before the index date",
        ),
        (
            {"kind": "value", "concepts": [3004410], "unit": "%", "minimum": 3, "maximum": 20},
            "the last measurement value of concept 3004410 in % up to the index date, plausible from 3 to 20",
        ),
        (
            {
                "kind": "time_to_event",
                "events": [{"domain": "condition", "concepts": "Stroke"}, "death"],
                "horizon_days": 730,
                "unit": "month",
            },
            "time in months from the index date to the first of a condition record of “Stroke” or death, "
            "followed for at most 730 days, censored at the end of observation",
        ),
    ],
)
def test_variables_in_words(variable: dict, words: str) -> None:
    from pydantic import TypeAdapter

    from cohort_lang.variables import Variable
    from site_connector.words import variable_words

    assert variable_words(TypeAdapter(Variable).validate_python(variable)) == words
