"""Persons of several hospitals: identifiers that stay, keys that only hospitals open, counts as of the pooled data."""

from __future__ import annotations

import csv
import json
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter
from typer.testing import CliRunner

from cohort_lang import CohortRefused, evaluate, evaluate_variables, parse
from cohort_lang.evaluation.linked import evaluate_linked
from cohort_lang.evaluation.linked_variables import evaluate_linked_variables
from cohort_lang.linking import linked
from cohort_lang.variables import Variable
from governance.disclosure import DisclosurePolicy
from governance.errors import DocumentError, GovernanceError
from governance.study import StudyProtocol
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.cohort_count import CohortCount
from mpc_backend.analyses.errors import ParametersRefused
from mpc_backend.analyses.plain import opened_outputs
from mpc_backend.analyses.registry import analysis, parse_parameters, resolve
from mpc_backend.planner import plan
from mpc_backend.testing import World
from site_connector import linkage
from site_connector.cli import site_app
from site_connector.errors import LinkageRefused
from site_connector.evaluation import opened
from site_connector.identifiers import TABLE, add_identifiers, identifiers_of
from site_connector.linked import linked_rows, recognition, with_variables
from site_connector.loading import Extract, last_report, load
from site_connector.review import review_page
from site_connector.review_text import review_markdown
from site_connector.tables import evaluate_cohorts, local_tables
from tests.cohort_lang.tiny_omop import TinyOmop
from tests.site_connector.consortium import COHORT, NOW, PASSPHRASE, SITES, Consortium
from tests.site_connector.extract import ADULTS_ON_METFORMIN, PERSONS

EXACT = DisclosurePolicy(minimum_sites=1, release="exact")
HISTORY = """
cohort "Starters"
concept set start: 1
concept set bar: 2
concept set other: 3
concept set need: 4
enter on first drug of start with 30 days of prior observation
require "grown up": age 18 or more
require "needed": any of (at least 1 condition of need any time before or on index, drug of need 5 days before to index)
exclude "barred": at least 1 condition of bar any time before index
require "no other": no drug of other any time before or on index
exclude "either": any of (condition of other any time before index, drug of bar any time before to 3 days after index)
exclude "around": condition of other 4 days before to 2 days after index
study period on or after 2020-02-10
"""
START = date(2020, 1, 1)
PEOPLE = 150


class Regional:
    """Persons whose records lie at three hospitals, and all of them pooled."""

    def __init__(self, seed: int) -> None:
        self.pooled, self.hospitals = TinyOmop(), {site: TinyOmop() for site in "abc"}
        self.draw = random.Random(seed)
        for concept in range(1, 5):
            self.add("concept", *self.hospitals, concept_id=concept, concept_name=str(concept))
        for number in range(1, 1 + PEOPLE):
            self._person(number)

    def add(self, table: str, *sites: str, **row: object) -> None:
        for made in (self.pooled, *(self.hospitals[site] for site in sites)):
            made.add(table, row)

    def _day(self) -> date:
        """Close together, so that windows end on the days of other records."""
        return START + timedelta(days=self.draw.randint(26, 48))

    def _person(self, number: int) -> None:
        known = self.draw.sample("abc", self.draw.choice([1, 1, 2, 3]))
        person = {"person_id": number}
        self.add(
            "person",
            *known,
            **person,
            year_of_birth=self.draw.choice([1980, 1980, 1980, 2010]),
            gender_concept_id=8507,
        )
        end, place = START + timedelta(days=400), known[0]
        if self.draw.random() < 0.2:
            end = self._day()
            self.add("death", place, **person, death_date=end)
        for site in known:
            last = end if site == place else START + timedelta(days=400)
            row = {"observation_period_start_date": START, "observation_period_end_date": last}
            self.hospitals[site].add("observation_period", {**person, **row})
        self.pooled.add(
            "observation_period",
            {**person, "observation_period_start_date": START, "observation_period_end_date": end},
        )
        for record in range(self.draw.randint(1, 7)):
            kind, concept = (
                self.draw.choice(["drug", "condition"]),
                self.draw.choice([1, 1, 2, 3, 4, 4, 4, 4]),
            )
            table = "drug_exposure" if kind == "drug" else "condition_occurrence"
            start = f"{'drug_exposure' if kind == 'drug' else 'condition'}_start_date"
            row = {f"{table}_id": number * 10 + record, f"{kind}_concept_id": concept, start: self._day()}
            self.add(table, self.draw.choice(known), **person, **row)

    def close(self) -> None:
        for made in (self.pooled, *self.hospitals.values()):
            made.close()


@pytest.fixture(scope="module")
def regional() -> Iterator[Regional]:
    made = Regional(1)
    yield made
    made.close()


def counted(hospitals: dict[str, TinyOmop], text: str) -> list[int]:
    """The linked attrition, population first, on the plain twin."""
    cohort = parse(text)
    sites, meaning = {}, linked(cohort)
    for name, made in hospitals.items():
        found = evaluate_linked(made.backend, cohort)
        tokens = [int(person).to_bytes(16, "big") for person in found.person_id]
        sites[name] = SiteData(pd.DataFrame(), linked=linked_rows(found, tokens))
    steps = [f"step {number}" for number in range(len(meaning.steps))]
    how = [{"how": step.how, "unless": step.unless} for step in meaning.steps]
    given = {"steps": steps, "linkage": True, "linked": how, "first": meaning.first is not None}
    chosen, typed = CohortCount(), parse_parameters("cohort_count", given)
    tables = {name: chosen.local(typed, data) for name, data in sites.items()}
    with World("plain") as world:
        return opened_outputs(world, chosen, typed, Released(EXACT, tuple(sites)), tables)["value"].tolist()


def test_linked_hospitals_count_what_their_pooled_data_hold(regional: Regional) -> None:
    """First exposure, exclusions and death of all hospitals together."""
    text = HISTORY
    assert [step.how for step in linked(parse(text)).steps] == [
        "entry", "at_entry", "within", "since", "since", "since", "within", "at_entry"
    ]  # fmt: skip
    whole = evaluate(regional.pooled.backend, parse(text))
    found = counted(regional.hospitals, text)
    assert found == [whole.population, *(persons for _, persons in whole.attrition)]
    assert found[0] == PEOPLE and found[1] > found[3] > found[-1] > 0
    known = [made.sql.sql("SELECT count(*) FROM person").fetchone() for made in regional.hospitals.values()]
    assert sum(count for (count,) in known) > PEOPLE + 50


def follow_up(*events: object) -> dict[str, object]:
    return {"kind": "time_to_event", "events": list(events), "horizon_days": 20, "unit": "day"}


OUTCOMES: dict[str, Any] = {
    "age": {"kind": "age"},
    "sex": {"kind": "sex"},
    "worse": follow_up({"domain": "condition", "concepts": "other"}, "death"),
    "needing": follow_up({"domain": "condition", "concepts": "need"}),
}
TIMES: dict[str, Any] = {
    "arm": "sex", "arms": ["male"], "strata": [{"variable": "age", "cuts": [18]}], "adjust": False,
    "unit": "week", "horizon": 2, "linkage": True,
}  # fmt: skip


def test_linked_hospitals_follow_persons_as_their_pooled_data_do(regional: Regional) -> None:
    """Entry, rules, outcome, death and observation of all hospitals together."""
    text = f'{HISTORY.partition("require")[0]}exclude "barred": at least 1 condition of bar any time before index'
    cohort, variables = parse(text), TypeAdapter(dict[str, Variable]).validate_python(OUTCOMES)
    meaning, sites = linked(cohort), {}
    for name, made in regional.hospitals.items():
        judged = evaluate_linked(made.backend, cohort)
        tokens = [int(person).to_bytes(16, "big") for person in judged.person_id]
        rows = with_variables(linked_rows(judged, tokens), made.backend, cohort, judged, variables)
        sites[name] = SiteData(pd.DataFrame(), linked=rows)
    entries = evaluate(regional.pooled.backend, cohort).entries
    frame = evaluate_variables(regional.pooled.backend, cohort, entries, variables)
    how = [{"how": step.how, "unless": step.unless} for step in meaning.steps]
    given = {"linked": how, "steps": [str(n) for n in range(len(how))], "first": True, "follow_up_days": 20}
    chosen = analysis("survival")
    for outcome, least in (("worse", (10, 0)), ("needing", (10, 2))):
        typed = parse_parameters("survival", {**TIMES, "outcome": outcome, **given})
        tables = {name: chosen.local(typed, data) for name, data in sites.items()}
        with World("plain") as world:
            found = opened_outputs(world, chosen, typed, Released(EXACT, tuple(tables)), tables)
        alone = parse_parameters("survival", {**TIMES, "outcome": outcome, "linkage": False})
        pooled = chosen.local(alone, SiteData(frame))["life_table"]
        for name in ("events", "censored"):
            np.testing.assert_array_equal(found[name].reshape(pooled[name].shape), pooled[name])
        assert pooled["events"].sum() >= least[0] and pooled["censored"][:, :2].sum() >= least[1]


def test_outcomes_and_periods_are_for_the_days_of_entry_that_they_fit() -> None:
    """Day n of 2020: an outcome from the day after the entry on, death from the entry itself, a period for its own days."""
    made, zero = TinyOmop(), (date(2020, 1, 1) - date(1970, 1, 1)).days
    person = {"person_id": 7}
    for table, row in (
        ("concept", {"concept_id": 1, "concept_name": "other"}),
        ("person", {**person, "year_of_birth": 1980, "gender_concept_id": 8507}),
        ("death", {**person, "death_date": START + timedelta(days=9)}),
        ("condition_occurrence", {**person, "condition_concept_id": 1, "condition_start_date": START + timedelta(days=4)}),
        ("drug_exposure", {**person, "drug_concept_id": 1, "drug_exposure_start_date": START + timedelta(days=3)}),
        *(
            ("observation_period", {**person, "observation_period_start_date": START + timedelta(days=first),
             "observation_period_end_date": START + timedelta(days=last)})
            for first, last in ((2, 5), (6, 9))
        ),
    ):  # fmt: skip
        made.add(table, row if table in ("concept", "person", "death") else {f"{table}_id": 1, **row})
    cohort = parse('cohort "c" concept set other: 1 enter on first drug of other')
    variables = TypeAdapter(dict[str, Variable]).validate_python(
        {"age": OUTCOMES["age"], "worse": OUTCOMES["worse"]}
    )
    found = evaluate_linked_variables(made.backend, cohort, evaluate_linked(made.backend, cohort), variables)
    ends = found.ends["worse"]
    days = [(part - zero).tolist() for part in (ends.earliest, ends.latest, ends.days)]
    assert sorted(zip(ends.observed.tolist(), *days, strict=True)) == [
        (False, -np.inf, 3, 4), (False, -np.inf, 9, 9), (True, 2, 5, 5), (True, 6, 9, 9)
    ]  # fmt: skip
    assert found.facts["age"].tolist() == [40] and set(ends.person_id) == {7}
    made.close()


def test_steps_that_need_one_hospitals_records_are_asked_where_the_entry_is() -> None:
    one_hospital = """
    require "twice": at least 2 conditions of need any time before index
    require "both": all of (condition of need any time before index, condition of bar any time before index)
    exclude "ending": drug of bar ending any time before index
    exclude "no record": no condition of need 9 days before to index
    exclude "first": first condition of bar where dated on or after 2020-02-10 any time before index
    """
    meaning = linked(parse(HISTORY.partition("study period")[0] + one_hospital))
    assert [(step.how, step.unless) for step in meaning.steps[-6:]] == [
        ("within", True), ("at_entry", False), ("at_entry", False), ("at_entry", True), ("within", False), ("at_entry", True),
    ]  # fmt: skip
    assert meaning.first is not None and meaning.first.first
    earliest = "enter on drug of start or drug of need taking earliest event per person"
    assert linked(parse(HISTORY.partition("enter")[0] + earliest)).first is None


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("enter on drug of start", "needs one entry of each person"),
        ("enter on drug of start taking latest event per person", "needs one entry of each person"),
        (
            "enter on first drug of start or first drug of bar taking earliest event per person",
            "several kinds",
        ),
        (
            "enter on drug of start taking earliest event per person qualifying when no drug of bar any time before index",
            "whether the earliest event of any hospital qualifies",
        ),
    ],
)
def test_a_cohort_that_persons_enter_more_than_once_cannot_be_linked(entry: str, why: str) -> None:
    with pytest.raises(CohortRefused, match=why):
        linked(parse(f'cohort "c" concept set start: 1 concept set bar: 2 {entry}'))


# ---- identifiers and keys at a hospital


def identifiers(file: Path, rows: list[tuple[object, ...]], header: tuple[str, ...]) -> Path:
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return file


def national(file: Path, shift: int = 0) -> Path:
    """Person n of the extract has the national id n + shift, as one hospital or another writes it; two have none."""
    rows = []
    for number in range(1, PERSONS + 1):
        written = f"756.{number + shift:04}" if shift else f" 756-{number:04}"
        rows.append(
            (number, "" if number > PERSONS - 2 else written, "1960-01-31", "M" if number % 2 else "F")
        )
    return identifiers(file, rows, ("person_id", "national_id", "birth_date", "sex"))


@pytest.fixture
def linking(
    consortium: Consortium,
    extract: Path,
    tmp_path: Path,
    loaded_once: Callable[[], AbstractContextManager[None]],
) -> tuple[Consortium, str]:
    """Three hospitals that load the same patients under other identifiers, half of them alike, and share one key."""
    with loaded_once():
        for number, site in enumerate(SITES):
            file = national(tmp_path / f"{site}.csv", shift=number * PERSONS // 2)
            load(consortium.sites[site], Extract("omop", extract, identifiers=file), NOW)
    key = linkage.share(consortium.north, tmp_path / "linkage.json", consortium.steward, NOW)
    for site in SITES:
        assert linkage.take(consortium.sites[site], tmp_path / "linkage.json", NOW) == key
    return consortium, key


def asking(consortium: Consortium, key: str, **changes: object) -> StudyProtocol:
    fields: dict[str, object] = {
        "linkage": {"key": key, "identifiers": ["national_id"]},
        "analyses": [
            {"id": "count", "kind": "cohort_count", "cohort": "treated", "parameters": {"linkage": True}}
        ],
        "variables": {},
    }
    return consortium.study(**{**fields, **changes})


def tables_of(
    consortium: Consortium, study: StudyProtocol, analysis_id: str = "count"
) -> dict[str, dict[str, np.ndarray]]:
    found = {}
    for site, directory in consortium.sites.items():
        with opened(directory.loaded_database()) as connection:
            data = evaluate_cohorts(connection, study, persons_by=recognition(directory, study))
        found[site] = local_tables(study, data)[analysis_id]
    return found


def test_a_signed_study_counts_persons_of_three_hospitals_once(
    linking: tuple[Consortium, str], caplog: pytest.LogCaptureFixture
) -> None:
    consortium, key = linking
    caplog.set_level(logging.DEBUG)
    study = consortium.submit(asking(consortium, key))
    with consortium.mailbox() as mailbox:
        connector = consortium.connector(mailbox)
        connector.round()
        item = mailbox.item(study.digest, NOW)
        page = review_page(
            consortium.federation, consortium.north.settings(), item, mailbox.spent(study.digest), NOW
        )
        consortium.desk(mailbox).approve(study.digest, consortium.steward, NOW)
        consortium.others_approve(study)
        connector.round()
        assert [one.state for one in mailbox.uploads()] == ["delivered"]
    said = (
        f"Persons are recognised across hospitals by national id, as tokens under linkage key {key}. {PERSONS - 2} of "
        f"{PERSONS} persons here have all of it; the others count as persons of their own."
    )
    assert said in page.linkage and said.partition(",")[0] in review_markdown(page)

    sent = consortium.reconstructed(study)
    tables = tables_of(consortium, study)
    known = PERSONS - 2
    tokens = sent["count/persons/token"][sent["count/persons/valid"] == 1]
    mine = {tuple(row) for row in tables["north"]["persons"]["token"]}
    assert len(tokens) == PERSONS and len(mine & {tuple(row) for row in tokens}) == known

    chosen, parameters = resolve(study, "count")
    with World("rep3") as world:
        opened_values = opened_outputs(world, chosen, parameters, Released(EXACT, SITES), tables)
    distinct = len({shift + n for shift in (0, 20, 40) for n in range(1, known + 1)}) + 2 * len(SITES)
    assert opened_values["value"][0] == distinct
    result = chosen.finish(parameters, Released(EXACT, SITES), opened_values)
    assert "Persons seen at several hospitals are counted once, but" in result.notes[0] and result.linked

    secret = linkage.secret(consortium.north, key).reveal()
    for file in consortium.root.rglob("*"):
        if file.is_file() and file.parent.name != "linkage":
            data = file.read_bytes()
            assert secret not in data and secret.hex().encode() not in data, file
    assert secret.hex() not in caplog.text and "7560001" not in caplog.text


FOLLOWED: dict[str, Any] = {
    "id": "curve",
    "kind": "survival",
    "cohort": "treated",
    "parameters": {
        "outcome": "death", "arm": "drug", "arms": ["metformin", "glipizide"], "time_unit": "month", "horizon": 12,
        "linkage": True,
    },
}  # fmt: skip
VARIABLES: dict[str, Any] = {
    "drug": {
        "kind": "category",
        "domain": "drug exposure",
        "levels": {"metformin": "Metformin", "glipizide": "Glipizide"},
        "window": {"start": 0, "end": 90},
    },
    "death": {"kind": "time_to_event", "events": ["death"], "horizon_days": 365, "unit": "month"},
}


def test_a_signed_study_follows_persons_of_three_hospitals_once(linking: tuple[Consortium, str]) -> None:
    """Person n of a hospital is person n - 20 of the next one, and was there first."""
    consortium, key = linking
    study = asking(consortium, key, analyses=[FOLLOWED], variables=VARIABLES)
    steps = [step for step in plan(study).steps if step.analysis == "curve"]
    assert [step.table for step in steps] == ["persons", "records", None, None]
    assert "for every person here, under tokens" in steps[0].what
    assert "from a row a person of every hospital, each person once" in steps[2].what
    tables = tables_of(consortium, study, "curve")
    chosen, parameters = resolve(study, "curve")
    with World("plain") as world:
        found = opened_outputs(world, chosen, parameters, Released(EXACT, SITES), tables)
    first_here = [n for last in (20, 20, 24) for n in range(1, last + 1)]
    died = sum(n % 8 == 0 for n in first_here)
    assert found["events"][0, 0].tolist() == [0] * 4 + [died] + [0] * 8 and not found["events"][1].any()
    assert (found["events"] + found["censored"]).sum() == len(first_here) < 3 * ADULTS_ON_METFORMIN
    cells = tables["north"]["persons"]["cell"].tolist()
    assert len(cells) == PERSONS and sorted(cells) == [0] * 34 + [1] * 6


def test_times_that_no_hospital_can_tell_for_linked_persons_are_refused(consortium: Consortium) -> None:
    def refusal(variables: dict[str, Any] = VARIABLES, **changes: object) -> str:
        entry = {**FOLLOWED, "parameters": {**FOLLOWED["parameters"], **changes}}
        study = asking(consortium, "0" * 32, analyses=[entry], variables=variables)
        with pytest.raises(ParametersRefused) as refused:
            resolve(study, "curve")
        return str(refused.value)

    by_cohort = {**VARIABLES, "death": {**VARIABLES["death"], "censor": "cohort"}}
    assert "ends with the cohort entry" in refusal(by_cohort)
    assert "24006 cells of hospital" in refusal(horizon=4_000)
    assert "sets follow_up_days, which follow from its cohort" in refusal(follow_up_days=10)
    with pytest.raises(ParametersRefused, match="does not say by what they are recognised"):
        resolve(consortium.study(analyses=[FOLLOWED]), "curve")
    count = {"id": "count", "kind": "cohort_count", "cohort": "treated"}
    study = asking(consortium, "0" * 32, analyses=[FOLLOWED, count], variables=VARIABLES)
    with pytest.raises(ParametersRefused, match=r"'curve' counts persons .* count uses the same cohort"):
        resolve(study, "curve")


def test_two_studies_have_no_token_in_common(linking: tuple[Consortium, str]) -> None:
    consortium, key = linking
    tokens = []
    for _ in range(2):  # of the same text, but for the nonce
        study, found = asking(consortium, key), {}
        for site, directory in consortium.sites.items():
            persons_by = recognition(directory, study)
            assert persons_by is not None
            with opened(directory.loaded_database()) as connection:
                people = identifiers_of(connection, np.arange(1, PERSONS + 1), persons_by.linkage.identifiers)
            found[site] = set(persons_by.tokens.tokens(people))
        tokens.append(found)
    first, second = tokens
    assert len(first["north"] & first["south"]) == PERSONS // 2 - 2
    assert not set.union(*first.values()) & set.union(*second.values())


def test_a_hospital_without_key_or_identifiers_says_what_it_lacks(
    consortium: Consortium, extract: Path, tmp_path: Path
) -> None:
    consortium.load(extract)
    study = consortium.submit(asking(consortium, "0" * 32))

    def problems() -> tuple[str, ...]:
        with consortium.mailbox() as mailbox:
            consortium.connector(mailbox).round()
            found = mailbox.item(study.digest, NOW).dry_run
            assert found is not None
            return found.problems

    (lacking,) = problems()
    assert lacking.startswith(
        f"linkage key {'0' * 32} is not here (keys here: none); take it with `tessera site linkage"
    )
    key = linkage.share(consortium.north, tmp_path / "linkage.json", consortium.steward, NOW)
    study = consortium.submit(asking(consortium, key))
    (lacking,) = problems()
    assert lacking.startswith("no national_id of persons was loaded here; load again with")
    file = national(tmp_path / "ids.csv")
    load(consortium.north, Extract("omop", extract, identifiers=file), NOW)
    assert problems() == ()


def test_an_analysis_without_what_linkage_needs_is_refused(consortium: Consortium) -> None:
    count = {"id": "count", "kind": "cohort_count", "cohort": "treated", "parameters": {"linkage": True}}
    with pytest.raises(ParametersRefused, match="does not say by what they are recognised"):
        resolve(consortium.study(analyses=[count]), "count")
    own = {**count, "parameters": {"linkage": True, "linked": []}}
    with pytest.raises(ParametersRefused, match="sets linked, which follow from its cohort"):
        resolve(asking(consortium, "0" * 32, analyses=[own]), "count")
    twice = COHORT.replace("first condition", "condition")
    with pytest.raises(
        ParametersRefused, match="'count': linkage of persons across hospitals needs one entry"
    ):
        resolve(asking(consortium, "0" * 32, cohorts={"treated": twice}), "count")


def test_what_would_tell_who_is_known_at_several_hospitals_is_refused(consortium: Consortium) -> None:
    recognised = {"key": "0" * 32, "identifiers": ["national_id"]}
    with pytest.raises(DocumentError, match="linkage goes with no feasibility study"):
        consortium.feasibility(linkage=recognised)
    with pytest.raises(
        DocumentError, match=r"disclosure\.rounding 5 is below minimum_cell 10, the least with linkage"
    ):
        asking(consortium, "0" * 32, disclosure={"rounding": 5, "minimum_sites": 2})
    count = {"id": "count", "kind": "cohort_count", "cohort": "treated", "parameters": {"linkage": True}}
    renamed = COHORT.replace('cohort "', 'cohort "other ', 1).replace("\n", "\n# in other words\n\n", 1)
    assert renamed.count("other") == 2
    cohorts = {"treated": COHORT, "again": f"{COHORT}\n", "renamed": renamed}
    for other in (
        {**count, "id": "other"},
        {**count, "id": "other", "parameters": {}},
        {**count, "id": "other", "parameters": {}, "cohort": "again"},
        {**count, "id": "other", "parameters": {}, "cohort": "renamed"},
    ):
        study = asking(consortium, "0" * 32, cohorts=cohorts, analyses=[count, other])
        with pytest.raises(
            ParametersRefused, match=r"'count' counts persons .* and other uses the same cohort"
        ):
            resolve(study, "count")


def test_identifiers_are_kept_normalised_and_counted(
    consortium: Consortium, extract: Path, tmp_path: Path
) -> None:
    bare = load(consortium.north, Extract("omop", extract), NOW)
    file = national(tmp_path / "ids.csv")
    with file.open("a", encoding="utf-8") as stream:
        stream.write("999,756.9999,31.1.1960,M\n")
    report = load(consortium.north, Extract("omop", extract, identifiers=file), NOW)
    assert report.notes["linkage: persons with national_id"] == PERSONS - 2
    assert report.notes["linkage: persons who share all their identifiers with another"] == 0
    assert report.notes["linkage: rows of identifiers whose person was not loaded"] == 1
    assert report.snapshot != bare.snapshot and report == last_report(consortium.north)
    with duckdb.connect(str(consortium.north.database), read_only=True) as database:
        first = database.sql(f"FROM {TABLE} ORDER BY person_id LIMIT 1").fetchone()
    assert first == (1, "7560001", "1960-01-31", "male")
    file = identifiers(tmp_path / "source.csv", [("p7", "A1")], ("person_source_value", "insurance_id"))
    with pytest.raises(
        LinkageRefused, match="no person_source_value in it is that of a loaded person; the profile's"
    ):
        add_identifiers(consortium.north.database, file, bare)
    with duckdb.connect(str(consortium.north.database)) as database:
        database.execute(f"DROP TABLE {TABLE}; UPDATE person SET person_source_value = 'p' || person_id")
    file = identifiers(
        tmp_path / "source.csv",
        [("p7", "A1"), ("p8", "a-1"), ("p9", "")],
        ("person_source_value", "insurance_id"),
    )
    other = add_identifiers(consortium.north.database, file, bare)
    assert other.notes["linkage: persons who share all their identifiers with another"] == 2
    assert len({bare.snapshot, report.snapshot, other.snapshot}) == 3
    with duckdb.connect(str(consortium.north.database)) as database:
        assert database.sql(f"FROM {TABLE}").fetchall() == [(7, "a1"), (8, "a1"), (9, "")]
        database.execute(
            f"DROP TABLE {TABLE}; UPDATE person SET person_source_value = 'p7' WHERE person_id < 3"
        )
    with pytest.raises(LinkageRefused, match="several loaded persons have one person_source_value"):
        add_identifiers(consortium.north.database, file, bare)


AT_FAULT: list[tuple[tuple[str, ...], list[tuple[object, ...]], str]] = [
    (("person_id",), [(1,)], "expected in its first line one of person_id and person_source_value"),
    (("person_id", "shoe_size"), [(1, 42)], "found of these person_id, and 1 others"),
    (("national_id",), [("756",)], "found of these national_id, and 0 others"),
    (("1", "756.1234"), [(2, "756")], "found of these none, and 2 others"),
    (("person_id", "national_id"), [(1, "756\n2")], "record 2: a line ends inside a value"),
    (("person_id", "national_id"), [(1, "756"), (1, "757")], "1 persons stand in it more than once"),
    (("person_id", "national_id"), [(999, "756")], "no person_id in it is that of a loaded person"),
    (("person_id", "national_id"), [(1, "756", "x")], "record 2: 3 values for 2 columns"),
]


def test_a_file_of_identifiers_at_fault_changes_nothing(
    consortium: Consortium, extract: Path, tmp_path: Path
) -> None:
    before = load(consortium.north, Extract("omop", extract), NOW)
    for header, rows, why in AT_FAULT:
        file = identifiers(tmp_path / "i.csv", rows, header)
        with pytest.raises(LinkageRefused, match=why) as refused:
            add_identifiers(consortium.north.database, file, before)
        assert "756" not in str(refused.value)
    with duckdb.connect(str(consortium.north.database), read_only=True) as database:
        assert (TABLE,) not in database.sql("SHOW TABLES").fetchall()
    with pytest.raises(LinkageRefused, match="3 values"):
        load(consortium.north, Extract("omop", extract, identifiers=file), NOW)
    assert last_report(consortium.north) == before


def test_keys_are_shared_and_taken_by_command(consortium: Consortium, tmp_path: Path) -> None:
    phrase = tmp_path / "phrase"
    phrase.write_bytes(PASSPHRASE)
    shared = tmp_path / "linkage.json"

    def said(*arguments: object, code: int = 0) -> str:
        done = CliRunner().invoke(site_app, ["linkage", *map(str, arguments)])
        assert done.exit_code == code, done.output
        return done.output.strip()

    north, south = consortium.north, consortium.sites["south"]
    key = said(north.path, "--share", shared, "--passphrase-file", phrase)
    assert said(north.path) == key and said(south.path) == ""
    assert said(south.path, "--take", shared) == said(south.path, "--take", shared) == key == said(south.path)
    assert "exists already" in said(north.path, "--share", shared, "--passphrase-file", phrase, code=2)
    assert "give --share FILE" in said(north.path, "--share", shared, "--take", shared, code=2)
    again = tmp_path / "again.json"
    assert said(south.path, "--share", again, "--passphrase-file", phrase) == key
    assert (linkage.secret(north, key).reveal()) == linkage.secret(south, key).reveal()
    assert (south.linkage_keys / f"{key}.key").stat().st_mode & 0o777 == 0o600
    changed = json.loads(shared.read_text())
    changed["payload"] = changed["payload"][:-8] + "AAAAAAA="
    (tmp_path / "changed.json").write_text(json.dumps(changed))
    with pytest.raises((GovernanceError, LinkageRefused)):
        linkage.take(consortium.sites["west"], tmp_path / "changed.json", NOW)
    kinds = [entry["kind"] for entry in _ledger(south)]
    assert kinds.count("linkage key taken") == 1 and kinds.count("linkage key shared") == 1


def _ledger(directory: object) -> list[dict[str, object]]:
    with directory.ledger() as log:  # type: ignore[attr-defined]
        return list(log.entries())
