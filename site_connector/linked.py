"""Persons of this hospital as linked analyses share them: a token in the study, what each step needs, what ends their time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from ibis.backends.duckdb import Backend
from numpy.typing import NDArray

from cohort_lang.evaluation.linked import Floats, LinkedPersons, Spans, evaluate_linked
from cohort_lang.evaluation.linked_variables import Ends, evaluate_linked_variables
from cohort_lang.tree import Cohort
from cohort_lang.variables import Variable
from governance.linkage import Linkage, StudyTokens
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.analyses.linked_steps import (
    EARLIEST,
    LATEST,
    NEVER,
    LinkedEnds,
    LinkedRecords,
    LinkedRows,
    token_words,
)
from site_connector.directory import SiteDirectory
from site_connector.identifiers import identifiers_of
from site_connector.linkage import secret


@dataclass(frozen=True)
class Recognition:
    """How this hospital recognises persons in one study."""

    linkage: Linkage
    tokens: StudyTokens

    def rows(
        self, connection: Backend, cohort: Cohort, variables: Mapping[str, Variable] | None = None
    ) -> LinkedRows:
        """All persons of the hospital, judged by the cohort's steps, with these variables.

        Raises:
            LinkageRefused: the identifiers that the study names were not loaded.
            cohort_lang.errors.CohortError: the cohort cannot be linked, or not be evaluated here.
        """
        found = evaluate_linked(connection, cohort)
        people = identifiers_of(connection, found.person_id, self.linkage.identifiers)
        rows = linked_rows(found, self.tokens.tokens(people))
        return with_variables(rows, connection, cohort, found, variables) if variables else rows

    def words(self, connection: Backend) -> str:
        """For the steward: by what persons are recognised, and how many here can be."""
        known = np.array(
            [row[0] for row in connection.con.execute("SELECT person_id FROM person").fetchall()], np.int64
        )
        people = identifiers_of(connection, known, self.linkage.identifiers)
        whole = sum(all(one.values()) for one in people)
        named = ", ".join(self.linkage.identifiers).replace("_", " ")
        return (
            f"Persons are recognised across hospitals by {named}, as tokens under linkage key {self.linkage.key}. {whole} of "
            f"{len(people)} persons here have all of it; the others count as persons of their own."
        )


def recognition(directory: SiteDirectory, study: StudyProtocol) -> Recognition | None:
    """With the key that the study names; None: it recognises nobody.

    Raises:
        LinkageRefused: this hospital does not have the key.
    """
    if study.linkage is None:
        return None
    return Recognition(study.linkage, secret(directory, study.linkage.key).for_study(study.digest))


def linked_cohorts(study: StudyProtocol, run: RunRequest | None, of_run: str) -> Collection[str | None]:
    """Names of the cohorts of which some analysis takes persons of several hospitals once."""
    entries = study.analyses if run is None else (study.analysis(run.analysis),)
    return {entry.cohort or of_run for entry in entries if entry.parameters.get("linkage") is True}


def linked_rows(found: LinkedPersons, tokens: list[bytes]) -> LinkedRows:
    """What `cohort_lang` found, as it is shared."""
    words = token_words(tokens)
    steps = tuple(_step(step) for step in found.steps)
    first = None if found.first is None else _days(found.first, LATEST)
    spans = {place: step for place, step in enumerate(found.steps) if isinstance(step, Spans)}
    records = _records(found.person_id, words, spans) if spans else None
    return LinkedRows(words, steps, _days(found.died, LATEST), first, records)


def with_variables(
    rows: LinkedRows,
    connection: Backend,
    cohort: Cohort,
    found: LinkedPersons,
    variables: Mapping[str, Variable],
) -> LinkedRows:
    """With variables at the entry here, and what ends times. ``rows``: of the persons that `cohort_lang` found."""
    more = evaluate_linked_variables(connection, cohort, found, variables)
    ends = {name: _ends(found.person_id, rows.tokens, one) for name, one in more.ends.items()}
    return replace(rows, facts=more.facts, ends=ends)


def _step(step: Floats | NDArray[np.bool_] | Spans) -> NDArray[np.int64] | NDArray[np.bool_]:
    if isinstance(step, Spans):
        return np.empty(0, np.int64)
    return step.astype(np.bool_) if step.dtype == np.bool_ else _days(step.astype(np.float64), NEVER)


def _records(
    people: NDArray[np.int64], tokens: NDArray[np.int64], spans: Mapping[int, Spans]
) -> LinkedRecords:
    """The spans of all steps, each under the token of its person."""
    whose = np.concatenate([one.person_id for one in spans.values()])
    places = np.repeat(list(spans), [len(one.person_id) for one in spans.values()])
    earliest = np.concatenate([one.earliest for one in spans.values()])
    latest = np.concatenate([one.latest for one in spans.values()])
    known = np.isin(whose, people)
    rows = tokens[np.searchsorted(people, whose[known])]
    return LinkedRecords(rows, places[known], _days(earliest[known], NEVER), _days(latest[known], NEVER))


def _ends(people: NDArray[np.int64], tokens: NDArray[np.int64], ends: Ends) -> LinkedEnds:
    """What ends times, each under the token of its person."""
    known = np.isin(ends.person_id, people)
    rows = tokens[np.searchsorted(people, ends.person_id[known])]
    earliest, latest, days = (part[known] for part in (ends.earliest, ends.latest, ends.days))
    return LinkedEnds(
        rows, _days(earliest, NEVER), _days(latest, NEVER), _days(days, LATEST), ends.observed[known]
    )


def _days(days: NDArray[np.float64], never: int) -> NDArray[np.int64]:
    """Whole days, those beyond what is shared at its ends; infinity is ``never``."""
    return np.where(np.isposinf(days), never, np.clip(days, EARLIEST, LATEST)).astype(np.int64)
