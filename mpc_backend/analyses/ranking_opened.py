"""A ranking as it is opened, in the units of the study; in the clear, at the recipient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses.base import Opened, Released
from mpc_backend.analyses.curve_heights import STEP_PERSONS
from mpc_backend.analyses.ranking_balance import opened_balance
from mpc_backend.analyses.ranking_parameters import CONTROL, HARM, RankingParameters
from mpc_backend.analyses.ranking_result import OpenedNumbers, OpenedRanking, OpenedRisks
from mpc_backend.analyses.ranking_scales import (
    COARSE_DIGITS,
    RISK_VARIANCE,
    SPREAD,
    band,
    decimals,
)
from mpc_backend.analyses.secret_curves import error_of

INFORMATION_STEP = 5


def opened_ranking(parameters: RankingParameters, released: Released, opened: Opened) -> OpenedRanking:
    """Opened outputs in the units of the study, in the clear."""
    return OpenedRanking(
        tier=int(opened["tier"]),
        benefit=_numbers(parameters, opened, ""),
        size=np.asarray(opened["size"], dtype=np.int64),
        total=int(opened["total"]) if opened["total_shown"] else None,
        band=band(released),
        harm=None if parameters.harm is None else _numbers(parameters, opened, HARM),
        control=None if parameters.negative_control is None else _numbers(parameters, opened, CONTROL),
        balance=opened_balance(parameters, opened),
        risks=_risks(released, opened),
    )


def _numbers(parameters: RankingParameters, opened: Opened, of: str) -> OpenedNumbers:
    places = decimals(parameters)
    coarse = np.asarray(opened[f"{of}coarse"], bool)
    spread = _upper_end(np.asarray(opened[f"{of}spread"], np.int64), coarse) / SPREAD
    persons = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    return OpenedNumbers(
        state=np.asarray(opened[f"{of}state"], dtype=np.int64),
        estimate=np.asarray(opened[f"{of}estimate"], dtype=np.float64) / 10.0**places,
        standard_error=error_of(opened[f"{of}variance"], places),
        information=(persons // INFORMATION_STEP * INFORMATION_STEP).astype(np.int64),
        few=np.asarray(opened[f"{of}few"], dtype=bool),
    )


def _risks(released: Released, opened: Opened) -> OpenedRisks:
    """Risks in steps of what a few patients are worth; errors hold that rounding, step / sqrt 12."""
    step = STEP_PERSONS / (np.asarray(opened["size"], dtype=np.int64) + band(released) // 2)
    variance = np.asarray(opened["risk_variance"], dtype=np.int64)
    spread = _upper_end(variance, np.ones(len(variance), dtype=bool)) / RISK_VARIANCE + step**2 / 12
    told = (np.asarray(opened["state"]) == 0) & ~np.asarray(opened["coarse"], dtype=bool)
    risk = np.minimum(np.asarray(opened["risk"], dtype=np.float64) * step, 1.0)
    return OpenedRisks(np.asarray(risk), np.asarray(np.round(np.sqrt(spread), 4)), told)


def _upper_end(numbers: NDArray[np.int64], coarse: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The largest number that rounds to each coarse one: an effective size is not overstated by rounding."""
    places = np.floor(np.log10(np.maximum(numbers, 1))) - (COARSE_DIGITS - 1)
    half = np.where(coarse & (places > 0), 0.5 * 10 ** np.maximum(places, 0), 0.0)
    return np.asarray(numbers + half)
