"""Which covariates `tessera try ranking` judges for balance, as strata of the file's columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mpc_backend.analyses.errors import ParametersRefused
from mpc_backend.analyses.grid import Stratum, numbers
from mpc_backend.analyses.ranking_parameters import (
    MOST_COVARIATES,
    MOST_LEVELS,
    RankingParameters,
    too_much_balance,
)
from mpc_backend.analyses.ranking_result import RankingResult
from mpc_backend.analyses.registry import parse_parameters
from mpc_backend.try_.data import levels, listed

NONE = "none"
YEARS = 10
"""Width of the bands of a caliper's variable, unless asked otherwise."""
Wanted = tuple[tuple[str, int | None], ...]


def balance_of(text: str | None) -> Wanted | None:
    """``stage,age=10`` as columns with the width of their bands, None for levels; None: not said."""
    if text is None:
        return None
    found = []
    for part in () if text == NONE else listed(text):
        name, bands, width = part.partition("=")
        if bands and not (width.isdigit() and int(width) > 0):
            raise ParametersRefused(
                f"--balance takes columns, and with = the width of bands: stage,age=10 for example; found {part}"
            )
        found.append((name, int(width) if bands else None))
    if len({name for name, _ in found}) != len(found):
        raise ParametersRefused(f"--balance {text}: a column is named twice")
    return tuple(found)


def usual(match: Sequence[str], caliper: tuple[str, int] | None) -> Wanted:
    """What is matched on: levels of ``--match``, bands of ten of ``--caliper``."""
    return (*((name, None) for name in match), *([] if caliper is None else [(caliper[0], YEARS)]))


def columns_of(wanted: Wanted) -> dict[str, str]:
    """Names inside the study -> the file's columns."""
    return {f"balance{number}": name for number, (name, _) in enumerate(wanted)}


def declared(frame: pd.DataFrame, wanted: Wanted) -> list[dict[str, Any]]:
    """The strata of the study's parameter ``balance``."""
    return [
        {"variable": inside, "levels": list(levels(frame, name))}
        if width is None
        else {"variable": inside, "cuts": _cuts(frame, name, width)}
        for inside, (name, width) in zip(columns_of(wanted), wanted, strict=True)
    ]


def _cuts(frame: pd.DataFrame, name: str, width: int) -> list[int]:
    """Multiples of the width that some are below and some are not; the next one where all are in one band."""
    values = numbers(frame, name)
    known = values[~np.isnan(values)]
    if not len(known):
        raise ParametersRefused(f"--balance {name}={width}: the column holds no number")
    first, last = int(known.min() // width) + 1, int(known.max() // width)
    if last - first >= MOST_LEVELS:
        raise ParametersRefused(
            f"--balance {name}={width} makes more than {MOST_LEVELS} bands: take wider ones"
        )
    return [place * width for place in range(first, last + 1)] or [first * width]


def with_balance(given: Mapping[str, Any], strata: list[dict[str, Any]], *, asked: bool) -> RankingParameters:
    """The study's parameters with these covariates judged. Those that nobody ``asked`` for are judged only where the limits
    allow it; the answer says where balance is not judged."""
    found = parse_parameters("treatment_ranking", {**given, "balance": strata if asked else []})
    assert isinstance(found, RankingParameters)
    if asked or not strata or len(strata) > MOST_COVARIATES:
        return found
    widths = [len(Stratum.model_validate(each).labels) + 1 for each in strata]
    return found if too_much_balance(found, widths) else with_balance(given, strata, asked=True)


def in_the_files_names(result: RankingResult, wanted: Wanted) -> RankingResult:
    """The result with the file's columns for the names inside the study."""
    if result.balance is None:
        return result
    names = columns_of(wanted)
    told = result.balance.model_copy(
        update={
            "covariates": [names[name] for name in result.balance.covariates],
            "out_of_balance": [names[name] for name in result.balance.out_of_balance],
        }
    )
    return result.model_copy(update={"balance": told})
