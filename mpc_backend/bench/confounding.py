"""Interval coverage under confounding by indication: patients are made whose sicker ones are treated more often, by a
treatment that helps; the truth is known, and each replicate runs the whole analysis ``comparative_effectiveness``.

    python -m mpc_backend.bench.confounding [--weights overlap] [--replicates 1000] [--rows 600] [--protocol plain]
                                            [--release exact]

prints one JSON object: the truth, how often intervals hold it, and how often the crude difference has the wrong sign.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.comparative_result import ComparativeResult
from mpc_backend.analyses.effect_ratios import Estimate
from mpc_backend.analyses.plain import run_here
from mpc_backend.analyses.registry import analysis, parse_parameters

KIND = "comparative_effectiveness"
TAU = 24
TRUTH_DRAWS = 2_000_000
Floats = NDArray[np.float64]


def drawn(rng: np.random.Generator, rows: int) -> tuple[Floats, Floats, Floats]:
    """Severity, comorbidity, and the true score (rows,): the sicker, the more likely to be treated."""
    severity, comorbid = rng.normal(size=rows), (rng.random(rows) < 0.4).astype(np.float64)
    return severity, comorbid, 1 / (1 + np.exp(0.6 - 0.8 * severity - 0.6 * comorbid))


def rates(severity: Floats, comorbid: Floats, treated: Floats) -> Floats:
    """Monthly rate of failure: the treatment lowers it by about a third."""
    return np.asarray(0.03 * np.exp(0.8 * severity + 0.6 * comorbid - 0.4 * treated))


def patients(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    """A cohort in which whole months of follow-up are independent of everything else."""
    severity, comorbid, score = drawn(rng, rows)
    treated = (rng.random(rows) < score).astype(np.float64)
    failure = np.ceil(rng.exponential(1 / rates(severity, comorbid, treated)))
    end = rng.integers(12, 61, rows)
    return pd.DataFrame(
        {
            "treatment": treated.astype(int), "severity": severity, "comorbid": comorbid.astype(int),
            "failure_time": np.minimum(failure, end).astype(int), "failure_event": (failure <= end).astype(int),
        }
    )  # fmt: skip


def truth(weights: str) -> tuple[float, float]:
    """Differences in restricted mean and in risk at tau, in the population that the weights describe."""
    severity, comorbid, score = drawn(np.random.default_rng(1), TRUTH_DRAWS)
    share = score * (1 - score) if weights == "overlap" else np.ones_like(score)
    share /= share.sum()
    curves = []
    for treated in (0.0, 1.0):
        rate = rates(severity, comorbid, np.full_like(score, treated))
        curves.append([float(share @ np.exp(-rate * time)) for time in range(TAU + 1)])
    base, mine = curves
    return sum(mine[:-1]) - sum(base[:-1]), base[-1] - mine[-1]


def compared(frame: pd.DataFrame, weights: str, protocol: str, release: str) -> ComparativeResult:
    """The analysis of a cohort at one hospital: rows of several only add up, and padding would cost more."""
    parameters = parse_parameters(
        KIND,
        {
            "outcome": "failure", "arm": "treatment", "arms": ["0", "1"], "time_unit": "month", "tau": TAU,
            "period": "not available", "hospital": False, "weights": weights, "allow_crude": True,
            "score": [
                {"variable": "severity", "centre": 0, "scale": 1},
                {"variable": "comorbid", "levels": ["0", "1"]},
            ],
        },
    )  # fmt: skip
    policy = DisclosurePolicy(minimum_sites=1, release="exact" if release == "exact" else "thresholded")
    released, sites = Released(policy, ("north",)), {"north": SiteData(frame)}
    result = run_here(analysis(KIND), parameters, released, sites, protocol=protocol)
    assert isinstance(result, ComparativeResult)
    return result


def coverage(weights: str, replicates: int, rows: int, protocol: str, release: str) -> dict[str, Any]:
    """Run the replicates; shares are of those in which a contrast is shown."""
    mean, risk = truth(weights)
    found: list[tuple[Estimate, Estimate, float]] = []
    for seed in range(replicates):
        frame = patients(np.random.default_rng([seed, rows]), rows)
        ours = compared(frame, weights, protocol, release).primary.contrast
        crude = compared(frame, "none", "plain", "exact").primary.contrast
        if ours is not None and crude is not None:
            found.append((ours.rmst_difference, ours.risk_difference, crude.rmst_difference.estimate))
    means, risks, crudes = zip(*found, strict=True)
    estimates = np.array([each.estimate for each in means])
    return {
        "weights": weights,
        "rows": rows,
        "replicates": replicates,
        "shown": len(found),
        "protocol": protocol,
        "release": release,
        "rmst_difference": mean,
        "mean_estimate": float(estimates.mean()),
        "standard_deviation": float(estimates.std(ddof=1)) if len(found) > 1 else None,
        "mean_standard_error": float(np.mean([each.se for each in means])),
        "rmst_coverage": _covered(means, mean),
        "risk_coverage": _covered(risks, risk),
        "mean_crude": float(np.mean(crudes)),
        "wrong_sign_crude": float(np.mean(np.array(crudes) * mean < 0)),
        "wrong_sign": float(np.mean(estimates * mean < 0)),
    }


def _covered(estimates: tuple[Estimate, ...], value: float) -> float:
    return float(np.mean([each.lower <= value <= each.upper for each in estimates]))


def main() -> None:
    """The command line."""
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reader.add_argument("--weights", default="overlap", choices=("overlap", "iptw", "strata"))
    reader.add_argument("--replicates", type=int, default=1000)
    reader.add_argument("--rows", type=int, default=600)
    reader.add_argument("--protocol", default="plain", choices=("plain", "rep3", "rep4"))
    reader.add_argument("--release", default="exact", choices=("exact", "k=10"))
    given = reader.parse_args()
    found = coverage(given.weights, given.replicates, given.rows, given.protocol, given.release)
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
