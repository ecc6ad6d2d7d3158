"""Times of persons whom several hospitals know: against a statement in plain words, and against persons put together by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses import log_rank_scores
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.grid import coarsen
from mpc_backend.analyses.linked_steps import LATEST, NEVER, LinkedEnds, LinkedRows, token_words
from mpc_backend.analyses.linked_survival import linked_survival
from mpc_backend.analyses.linked_words import REPEATED
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.testing import World

EXACT = DisclosurePolicy(minimum_sites=1, release="exact")
ARMS, STRATA, LONGEST = ("s", "t"), ("u", "v"), 70
MADE = {
    "outcome": "o", "arm": "drug", "arms": list(ARMS), "strata": [{"variable": "g", "levels": list(STRATA)}], "rho": 1,
    "time_unit": "week", "unit": "month", "horizon": 2, "linkage": True, "steps": ["in", "kept"], "first": True,
    "linked": [{"how": "entry"}, {"how": "at_entry", "unless": True}], "follow_up_days": LONGEST,
}  # fmt: skip


def some(seed: int, persons: int) -> list[dict[str, Any]]:
    """Persons of one hospital; of some it has no entry, of some two outcomes, or periods that do not hold the entry."""
    rng = np.random.default_rng(seed)
    found = []
    for who in rng.choice(persons * 3 // 2, persons, replace=False).tolist():
        start = int(rng.integers(0, 30))
        found.append(
            {
                "who": who,
                "entry": None if rng.random() < 0.25 else start,
                "out": bool(rng.random() < 0.15),
                "died": None if rng.random() < 0.8 else int(rng.integers(10, 90)),
                "first": start - int(rng.random() < 0.2),
                "drug": [*ARMS, None][rng.choice(3, p=[0.5, 0.4, 0.1])],
                "g": STRATA[rng.integers(0, 2)],
                "outcomes": [int(day) for day in rng.integers(0, 110, rng.integers(0, 3))],
                "periods": [
                    (start - 2, start + int(rng.integers(0, 90))), (100, 120), *([(-9, 60)] if rng.random() < 0.2 else []),
                ],
            }
        )  # fmt: skip
    return found


def token(who: int) -> bytes:
    return bytes([who % 5, 0, 0, who // 5 + 1]) + bytes(12)


def rows_of(persons: list[dict[str, Any]]) -> SiteData:
    """As a hospital shares them."""
    entry = np.array([NEVER if one["entry"] is None else one["entry"] for one in persons])
    ends = [(one["who"], -(10**6), day - 1, day, False) for one in persons for day in one["outcomes"]]
    ends += [(one["who"], low, high, high, True) for one in persons for low, high in one["periods"]]
    whose, *numbers = zip(*ends, strict=True)
    earliest, latest, days, observed = (np.array(part) for part in numbers)
    facts = pd.DataFrame({name: [one[name] for one in persons] for name in ("drug", "g")})
    return SiteData(
        pd.DataFrame(),
        linked=LinkedRows(
            token_words([token(one["who"]) for one in persons]),
            (entry, np.array([one["out"] for one in persons])),
            np.array([LATEST if one["died"] is None else one["died"] for one in persons]),
            np.array([one["first"] for one in persons]),
            facts=facts,
            ends={"o": LinkedEnds(token_words([token(one) for one in whose]), earliest, latest, days, observed)},
        ),
    )


def together(sites: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """In plain words: who is in the cohort, from when, where, and how their time ends."""
    known: dict[int, list[tuple[str, dict[str, Any]]]] = {}
    for site, persons in sites.items():
        for one in persons:
            known.setdefault(one["who"], []).append((site, one))
    found = []
    for rows in known.values():
        entries = [one["entry"] for _, one in rows if one["entry"] is not None]
        died = min([one["died"] for _, one in rows if one["died"] is not None], default=10**6)
        if not entries or died < min(entries) or min(one["first"] for _, one in rows) < min(entries):
            continue
        entry = min(entries)
        there = [(site, one) for site, one in rows if one["entry"] == entry]
        cells = [
            (ARMS.index(one["drug"]), STRATA.index(one["g"]), site) for site, one in there if one["drug"] is not None
        ]
        periods = [high for _, one in rows for low, high in one["periods"] if low <= entry <= high]
        if any(one["out"] for _, one in there) or not cells or not periods:
            continue
        last = min(max(periods), died, entry + LONGEST)
        outcomes = [day for _, one in rows for day in one["outcomes"] if entry < day <= last]
        weeks = -(-(min(outcomes, default=last) - entry) // 7)
        month = int(coarsen(np.array([weeks]), "week", "month")[0])
        found.append(
            {
                "cell": min(cells),
                "time": min(month, 2),
                "event": bool(outcomes) and month <= 2,
                "known": {site for site, _ in rows},
            }
        )
    return found


def counted(people: list[dict[str, Any]], sites: tuple[str, ...], unknown_to: str | None) -> np.ndarray:
    """Events and exits (2, arms, strata, hospitals, bins)."""
    table = np.zeros((2, 2, 2, len(sites), 3), int)
    for one in people:
        if unknown_to not in one["known"]:
            arm, stratum, site = one["cell"]
            table[:, arm, stratum, sites.index(site), one["time"]] += [one["event"], 1]
    return table


def on_shares(protocol: str, sites: dict[str, SiteData], change: Any = None) -> dict[str, np.ndarray]:
    chosen, typed = analysis("survival"), parse_parameters("survival", MADE)
    with World(protocol) as world:
        inputs: dict[str, dict[str, Any]] = {spec.name: {} for spec in chosen.tables(typed)}
        for name, data in sites.items():
            tables = chosen.local(typed, data)
            if change is not None:
                tables = change(name, tables)
            for spec in chosen.tables(typed):
                inputs[spec.name][name] = {
                    one.name: world.share_column(one, tables[spec.name][one.name]) for one in spec.columns
                }

        def compute(_: Any, given: Any) -> dict[str, Any]:
            found, sound = linked_survival(typed, given)
            return {**vars(found), "sound": sound.reshape(1)}

        opened: dict[str, np.ndarray] = world.run(compute, inputs)
        return opened


@pytest.mark.parametrize(("protocol", "persons"), [("plain", 300), ("rep3", 40), ("rep4", 40)])
def test_tables_are_those_of_persons_put_together(protocol: str, persons: int) -> None:
    given = {site: some(number, persons) for number, site in enumerate("abc")}
    found = on_shares(protocol, {site: rows_of(people) for site, people in given.items()})
    people, sites = together(given), tuple(given)
    assert sum(len(one["known"]) > 1 for one in people) > persons / 10 and found["sound"]
    views = np.stack([counted(people, sites, view) for view in (None, *sites)])
    np.testing.assert_array_equal(found["events"], views[:, 0].sum(3))
    np.testing.assert_array_equal(found["exits"], views[:, 1].sum(3))
    failed, exits = views[0].astype(np.int64)
    by_hospital = failed.sum(1), (exits - failed).sum(1)
    crossed = failed.reshape(2, -1, 3), (exits - failed).reshape(2, -1, 3)
    expected = [
        log_rank_scores.scores(*by_hospital), log_rank_scores.scores(*crossed), log_rank_scores.scores(*by_hospital, 1)
    ]  # fmt: skip
    np.testing.assert_allclose(found["score"], [score for score, _ in expected], atol=2e-3)
    np.testing.assert_allclose(found["variance"], [each.ravel() for _, each in expected], atol=2e-3)
