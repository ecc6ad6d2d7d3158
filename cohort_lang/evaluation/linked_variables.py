"""Variables of every person whom a hospital lets in, and what ends anybody's time, for persons known to several hospitals.

Whether a person is in the cohort, and from when, is known only where all hospitals' records are put together. So variables are
taken at each person's entry here, whatever the rules say of it; and an outcome as the days on which it was recorded and the
periods of observation, each with the days of entry that it is for: no hospital needs to know the entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from ibis.backends import BaseBackend
from numpy.typing import NDArray

from cohort_lang.evaluation.events import observation_periods
from cohort_lang.evaluation.linked import Floats, LinkedPersons
from cohort_lang.evaluation.site import Site
from cohort_lang.evaluation.variables import evaluate_variables, outcome_days
from cohort_lang.tree import Cohort
from cohort_lang.variables import TimeToEvent, Variable


@dataclass(frozen=True)
class Ends:
    """What ends time (m,): whose, the first and last day of entry that it is for, its day, and whether it is the last day of a
    period of observation; else it is one of the outcome. Days count from 1970-01-01, infinity is no bound.
    """

    person_id: NDArray[np.int64]
    earliest: Floats
    latest: Floats
    days: Floats
    observed: NDArray[np.bool_]


@dataclass(frozen=True)
class LinkedVariables:
    """``facts``: a row for each of the persons, in their order, missing where there is no entry; ``ends`` by outcome."""

    facts: pd.DataFrame
    ends: dict[str, Ends]


def evaluate_linked_variables(
    connection: BaseBackend, cohort: Cohort, found: LinkedPersons, variables: Mapping[str, Variable]
) -> LinkedVariables:
    """Variables of the persons that `evaluate_linked` found. An outcome ends with observation, whatever it declares.

    Raises UnknownConceptSet, UnknownConcept, MissingTable as `evaluate_variables`.
    """
    outcomes = {name: one for name, one in variables.items() if isinstance(one, TimeToEvent)}
    others = {name: one for name, one in variables.items() if name not in outcomes}
    with Site(connection, cohort.concept_sets) as site:
        ends = {name: _ends(site, one) for name, one in outcomes.items()}
    return LinkedVariables(_at_entry(connection, cohort, found, others), ends)


def _at_entry(
    connection: BaseBackend, cohort: Cohort, found: LinkedPersons, variables: Mapping[str, Variable]
) -> pd.DataFrame:
    """Persons are in ascending order, and so are the rows of `evaluate_variables`."""
    entry = found.steps[0]
    assert isinstance(entry, np.ndarray)
    inside = np.flatnonzero(np.isfinite(entry))
    days = pd.to_datetime(entry[inside].astype(np.int64), unit="D")
    entries = pd.DataFrame({"person_id": found.person_id[inside], "start_date": days, "end_date": days})
    rows = evaluate_variables(connection, cohort, entries, variables)
    return rows.set_axis(inside).reindex(range(len(entry)))


def _ends(site: Site, outcome: TimeToEvent) -> Ends:
    days = outcome_days(site, outcome).distinct().to_pyarrow().to_pandas()
    periods = observation_periods(site).distinct().to_pyarrow().to_pandas()
    day = days["day"].to_numpy(np.float64)
    return Ends(
        np.concatenate([days["person_id"], periods["person_id"]]).astype(np.int64),
        np.concatenate([np.full(len(days), -np.inf), periods["op_start"]]),
        np.concatenate([day - days["least"], periods["op_end"]]),
        np.concatenate([day, periods["op_end"]]),
        np.repeat([False, True], [len(days), len(periods)]),
    )
