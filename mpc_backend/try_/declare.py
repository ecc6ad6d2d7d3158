"""Numbers of a file declared as a study would declare them: centre, scale and codes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mpc_backend.analyses.coded import MOST_CODES, is_code
from mpc_backend.analyses.errors import LocalDataError
from mpc_backend.analyses.grid import column, numbers
from mpc_backend.try_.data import by_site, levels

FEW_VALUES = 2
"""A number with no more values is a code."""


def one_digit(spread: float) -> float:
    """A positive number to one significant digit; 1 for 0."""
    return _multiple(spread, _power(spread)) if spread > 0 else 1.0


def place_and_spread(frame: pd.DataFrame, name: str) -> tuple[float, float]:
    """About the mean, to a digit of the standard deviation, and that to one digit; where nothing varies, the value and its
    size, at least 1."""
    values = numbers(frame, name)
    known = values[~np.isnan(values)]
    if known.size == 0:
        raise LocalDataError(f"column {name} holds no number")
    spread, centre = float(known.std()), float(known.mean())
    if spread <= 1e-12 * abs(centre):
        return centre, max(1.0, abs(centre))
    return _multiple(centre, _power(spread)), one_digit(spread)


def codes_of(
    frame: pd.DataFrame, name: str, site: str | None, others: Sequence[str] = (), by: str | None = None
) -> list[str] | None:
    """The codes that a study would declare for a number: its values, where some hospital's rows have no more than two, or all
    rows together have no more; or its rows that know the columns ``others`` too, or those of a group ``by``.

    Raises:
        LocalDataError: more values than a study can declare.
    """
    values = pd.DataFrame({name: numbers(frame, name)})
    known = values[name].dropna()
    complete = np.ones(len(frame), dtype=bool)
    for other in others:
        complete &= column(frame, other).notna().to_numpy()
    whole = values.where(complete[:, None])
    parts = [
        data.frame[name].dropna() for each in (values, whole) for data in by_site(each, frame, site).values()
    ]
    if by is not None:
        groups = column(frame, by).reset_index(drop=True)
        parts += [group for part in parts for _, group in part.groupby(groups.reindex(part.index))]
    count = known.nunique()
    if count == 0 or (count > FEW_VALUES and not any(is_code(part.to_numpy()) for part in parts)):
        return None
    if count > MOST_CODES:
        raise LocalDataError(
            f"column {name} has no more than two different numbers at one hospital, or in a group there, so that persons of "
            f"each number would have to be counted, and {count} in all; at most {MOST_CODES} can be"
        )
    return list(levels(values, name, MOST_CODES))


def _power(spread: float) -> float:
    return 10.0 ** math.floor(math.log10(spread))


def _multiple(value: float, power: float) -> float:
    return float(f"{round(value / power) * power:.12g}")
