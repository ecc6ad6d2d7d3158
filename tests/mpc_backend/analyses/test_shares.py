"""On shares: the same answers as the plain twin."""

import itertools

import numpy as np
import pandas as pd
import pytest
import ranking_data as data

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.plain import opened_outputs
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.protocols import NAMES
from mpc_backend.testing import World

HIDING = DisclosurePolicy(minimum_sites=2)
ROUNDED = {
    "estimate", "variance", "spread", "mean", "mean_variance", "height", "height_variance", "chi2", "risk",
    "risk_variance", "lost", "lost_variance", "before", "after", "effective",
}  # fmt: skip
"""Made of fixed-point numbers, whose last place may differ from run to run."""


def sites(kind: str, seed: int) -> dict[str, SiteData]:
    rng = np.random.default_rng(seed)
    if kind == "cohort_count":
        counts = np.sort(rng.integers(0, 400, (2, 4)), axis=1)[:, ::-1]
        return {
            name: SiteData(
                pd.DataFrame(), tuple((f"s{i}", int(n)) for i, n in enumerate(row[1:])), int(row[0])
            )
            for name, row in zip("ab", counts, strict=True)
        }
    frame = data.patients(500, 3, seed)
    frame["p_time"], frame["p_event"] = frame.o_time, (1 - frame.o_event) * (frame.index % 2)
    return {"a": SiteData(frame.iloc[:250]), "b": SiteData(frame.iloc[250:])}


def study(kind: str) -> dict[str, object]:
    if kind == "cohort_count":
        return {"steps": ["s0", "s1", "s2"]}
    if kind == "survival":
        return {
            "outcome": "o", "arm": "drug", "arms": ["t00", "t01", "t02"], "time_unit": "month", "horizon": 20, "tau": 12,
            "strata": [{"variable": "severe", "levels": ["0", "1"]}], "rho": 1,
        }  # fmt: skip
    if kind == "competing_risks":
        return {
            "causes": ["o", "p"],
            "arm": "drug",
            "arms": ["t00", "t01"],
            "time_unit": "month",
            "horizon": 20,
            "tau": 12,
        }
    if kind == "comparative_effectiveness":
        return {
            "outcome": "o", "arm": "drug", "arms": ["t00", "t01"], "time_unit": "month", "tau": 12, "weights": "iptw",
            "period": "not available", "score": [{"variable": "severe", "levels": ["0", "1"]}],
        }  # fmt: skip
    return data.parameters(3, harm="p")


def prepared(kind: str, seed: int):
    chosen, typed = analysis(kind), parse_parameters(kind, study(kind))
    tables = {name: chosen.local(typed, rows) for name, rows in sites(kind, seed).items()}
    facts = {**data.FACTS, "age": 45 + seed, "m2": None}
    query = chosen.query(typed, facts) if kind == "treatment_ranking" else None
    return chosen, typed, tables, query


KINDS = ["cohort_count", "competing_risks", "survival", "treatment_ranking"]
SLOW = "comparative_effectiveness"
"""Two thousand rounds of a fit: once under rep4 is enough."""


@pytest.mark.parametrize(
    ("kind", "release"), [*itertools.product(KINDS, ["thresholded", "exact"]), (SLOW, "thresholded")]
)
def test_shares_open_what_the_plain_twin_opens(kind, release):
    policy = DisclosurePolicy(minimum_sites=2, release=release)
    chosen, typed, tables, query = prepared(kind, 1)
    released = Released(policy, ("a", "b"), ("a",))
    opened = {}
    for protocol in ("plain", "rep4") if kind == SLOW else NAMES:
        with World(protocol) as world:
            opened[protocol] = opened_outputs(world, chosen, typed, released, tables, query)
    expected = opened.pop("plain")
    for protocol, found in opened.items():
        assert set(found) == set(expected)
        for name, plain in expected.items():
            slack = 1 if name.rstrip("0").removeprefix("harm_") in ROUNDED else 0
            difference = np.abs(np.asarray(found[name], float) - np.asarray(plain, float)).max()
            assert difference <= slack, (protocol, name)
