"""`tessera try count`: persons left after each of a row of conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mpc_backend.analyses.base import SiteData
from mpc_backend.analyses.cells import Cell, HiddenCount
from mpc_backend.analyses.cohort_count import CountResult, Step
from mpc_backend.analyses.errors import LocalDataError
from mpc_backend.analyses.grid import column
from mpc_backend.analyses.linked_steps import LinkedRows
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.try_.data import by_site
from mpc_backend.try_.linking import tokens_of
from mpc_backend.try_.output import TAIL, Output
from mpc_backend.try_.running import Answer, Setting, answer

ALLOWED = (
    "a condition compares columns, numbers and quoted texts by ==, !=, <, <=, >, >=, in [...] or not in [...], may compute "
    "with + - * / and brackets, and joins comparisons by and, or and not"
)


class CountOutput(Output):
    """What `tessera try count --json` prints; ``count`` is that of the last step. ``linked``: persons of several hospitals are
    counted once."""

    population: Cell
    steps: list[Step]
    count: Cell
    linked: bool


def count(
    frame: pd.DataFrame,
    conditions: Sequence[str],
    setting: Setting,
    site: str | None,
    person: str | None = None,
    link: Sequence[str] = (),
) -> Answer:
    """The attrition of the conditions, applied in order; ``person`` names a column of ids, else a row is a person.

    ``link``: columns by which a person is recognised at every hospital; a row that lacks one is a person of its own.
    """
    if link:
        return _linked(frame, conditions, setting, site, person, link)
    ids = pd.Series(np.arange(len(frame))) if person is None else column(frame, person)
    if ids.isna().any():
        raise LocalDataError(f"column {person} is missing in some rows; every row needs its person")
    left = _left(frame, conditions).assign(person=ids.to_numpy())
    sites = {name: _attrition(data.frame, conditions) for name, data in by_site(left, frame, site).items()}
    found = analysis("cohort_count")
    return answer(found, parse_parameters("cohort_count", {"steps": list(conditions)}), setting, sites)


def _linked(
    frame: pd.DataFrame,
    conditions: Sequence[str],
    setting: Setting,
    site: str | None,
    person: str | None,
    link: Sequence[str],
) -> Answer:
    """The attrition of persons who are recognised at every hospital."""
    if person is not None:
        raise LocalDataError(
            "--person numbers persons within a hospital and --link across them; give one of the two"
        )
    tokens = tokens_of(frame, link)
    left = _left(frame, conditions).assign(row=np.arange(len(frame)))
    steps = [f"step{number}" for number in range(len(conditions))]
    sites = {
        name: SiteData(
            data.frame,
            linked=LinkedRows(
                tokens[data.frame["row"].to_numpy()],
                tuple(data.frame[step].to_numpy(dtype=bool) for step in steps),
            ),
        )
        for name, data in by_site(left, frame, site).items()
    }
    parameters = {
        "steps": list(conditions),
        "linkage": True,
        "linked": [{"how": "anywhere"}] * len(conditions),
    }
    return answer(analysis("cohort_count"), parse_parameters("cohort_count", parameters), setting, sites)


def _left(frame: pd.DataFrame, conditions: Sequence[str]) -> pd.DataFrame:
    """``step0``, ``step1``, ...: rows for which this condition and all before it hold."""
    kept = np.ones(len(frame), dtype=bool)
    left = {}
    for number, condition in enumerate(conditions):
        kept = kept & _holds(frame, condition)
        left[f"step{number}"] = kept
    return pd.DataFrame(left)


def _attrition(rows: pd.DataFrame, conditions: Sequence[str]) -> SiteData:
    steps = tuple(
        (condition, int(rows.loc[rows[f"step{number}"], "person"].nunique()))
        for number, condition in enumerate(conditions)
    )
    return SiteData(rows, steps, int(rows["person"].nunique()))


def _holds(frame: pd.DataFrame, condition: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Where a condition over the columns holds; missing counts as not."""
    try:
        values = frame.eval(condition, engine="python", local_dict={}, global_dict={})
    except pd.errors.UndefinedVariableError as error:
        known = ", ".join(str(name) for name in frame.columns)
        raise LocalDataError(f"cannot evaluate {condition!r}: {error}; the columns are: {known}") from error
    except (SyntaxError, AttributeError, NotImplementedError) as error:  # in words of pandas' own parser
        raise LocalDataError(f"cannot read {condition!r}; {ALLOWED}") from error
    except Exception as error:
        raise LocalDataError(f"cannot evaluate {condition!r}: {error}; {ALLOWED}") from error
    if not isinstance(values, pd.Series) or not pd.api.types.is_bool_dtype(values):
        raise LocalDataError(f"{condition!r} is not true or false for each row; write a comparison")
    return np.asarray(values.fillna(False), dtype=bool)


def as_json(result: CountResult) -> dict[str, Any]:
    """The JSON form (docs/schemas/try-count.json), but for what every object ends with."""
    output = CountOutput(
        population=result.population, steps=result.steps, count=result.count, linked=result.linked
    )
    return output.model_dump(exclude=set(TAIL))


def in_words(result: CountResult) -> list[str]:
    """One line per step."""
    rows = [("everybody", result.population), *((step.label, step.count) for step in result.steps)]
    return [
        f"{label:<40} {f'hidden: {cell.why}' if isinstance(cell, HiddenCount) else cell.value}"
        for label, cell in rows
    ]
