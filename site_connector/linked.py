"""Persons of this hospital as a linked count shares them: a token in the study, and what each step needs of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from ibis.backends.duckdb import Backend
from numpy.typing import NDArray

from cohort_lang.evaluation.linked import LinkedPersons, evaluate_linked
from cohort_lang.tree import Cohort
from governance.linkage import Linkage, StudyTokens
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.analyses.linked_steps import EARLIEST, LATEST, NEVER, LinkedRows, token_words
from site_connector.directory import SiteDirectory
from site_connector.identifiers import identifiers_of
from site_connector.linkage import secret


@dataclass(frozen=True)
class Recognition:
    """How this hospital recognises persons in one study."""

    linkage: Linkage
    tokens: StudyTokens

    def rows(self, connection: Backend, cohort: Cohort) -> LinkedRows:
        """All persons of the hospital, judged by the cohort's steps.

        Raises:
            LinkageRefused: the identifiers that the study names were not loaded.
            cohort_lang.errors.CohortError: the cohort cannot be linked, or not be evaluated here.
        """
        found = evaluate_linked(connection, cohort)
        people = identifiers_of(connection, found.person_id, self.linkage.identifiers)
        return linked_rows(found, self.tokens.tokens(people))

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
    """Names of the cohorts of which some analysis counts persons of several hospitals once."""
    entries = study.analyses if run is None else (study.analysis(run.analysis),)
    return {entry.cohort or of_run for entry in entries if entry.parameters.get("linkage") is True}


def linked_rows(found: LinkedPersons, tokens: list[bytes]) -> LinkedRows:
    """What `cohort_lang` found, as it is shared."""
    steps = tuple(step if step.dtype == np.bool_ else _days(step, NEVER) for step in found.steps)
    first = None if found.first is None else _days(found.first, LATEST)
    return LinkedRows(token_words(tokens), steps, _days(found.died, LATEST), first)


def _days(days: NDArray[np.float64], never: int) -> NDArray[np.int64]:
    """Whole days, those beyond what is shared at its ends; infinity is ``never``."""
    return np.where(np.isposinf(days), never, np.clip(days, EARLIEST, LATEST)).astype(np.int64)
