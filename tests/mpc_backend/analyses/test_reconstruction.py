"""What a survival study releases, taken together, gives no person's time away.

The attacker knows the method, every opened number and all but one person's time to within the order of events. For each
person who failed there is another data set, in which that person failed on another day, from which the very same
numbers are opened: nothing computed from the release can tell the two apart.
"""

from __future__ import annotations

import bisect

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Opened, Released, SiteData
from mpc_backend.analyses.plain import opened_outputs
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.testing import World

STUDY = {
    "outcome": "o", "arm": "sex", "arms": ["1", "2"], "unit": "day", "horizon": 1022, "tau": 365, "rho": 1,
    "times": [90, 180, 365, 540],
}  # fmt: skip
BLOCKS, TRIES = 12, 60
Days = NDArray[np.int64]


def opened(frame: pd.DataFrame, policy: DisclosurePolicy) -> Opened:
    """Everything a recipient opens, from three hospitals' rows."""
    survival, parameters = analysis("survival"), parse_parameters("survival", STUDY)
    rows = {name: SiteData(frame.iloc[start::3]) for start, name in enumerate(("north", "south", "west"))}
    tables = {name: survival.local(parameters, data) for name, data in rows.items()}
    with World("plain") as world:
        return opened_outputs(world, survival, parameters, Released(policy, tuple(tables)), tables)


def same(one: Opened, other: Opened) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def bounds() -> list[int]:
    """Days at which the release tells how many failed before: those of the table and of the curve."""
    parameters = parse_parameters("survival", STUDY)
    return sorted({0, *parameters.table_times, *parameters.display_times})  # type: ignore[attr-defined]


def moved(days: Days, chosen: Days, rng: np.random.Generator) -> Days:
    """Distinct days, the runs that begin at some chosen places one day earlier or later; no order and no bound is crossed."""
    fixed, found = bounds(), days.copy()
    for start in rng.permutation(chosen)[:BLOCKS]:
        step = int(rng.choice((-1, 1)))
        end = start
        while 0 <= end + step < len(found) and found[end + step] == found[end] + step:
            end += step
        run = slice(min(start, end), max(start, end) + 1)
        target = found[run] + step
        cells = [bisect.bisect_left(fixed, day) for day in (*found[run], *target)]
        if cells[: len(target)] == cells[len(target) :]:
            found[run] = target
    return found


def day_sets(lung: pd.DataFrame, policy: DisclosurePolicy) -> tuple[set[int], int]:
    """Days of failures that were never moved while the release stayed the same; data sets that gave the same release."""
    days, place = np.unique(lung.o_time.to_numpy(), return_inverse=True)
    failures = set(lung.o_time[lung.o_event == 1].tolist())
    release, rng, alike = opened(lung, policy), np.random.default_rng(7), 0
    for _ in range(TRIES):
        other = moved(days, np.flatnonzero(np.isin(days, list(failures))), rng)
        if same(release, opened(lung.assign(o_time=other[place]), policy)):
            alike += 1
            failures -= set(days[other != days].tolist())
        if not failures:
            break
    return failures, alike


@pytest.mark.slow
def test_every_failure_may_have_been_on_another_day(lung: pd.DataFrame) -> None:
    certain, alike = day_sets(lung, DisclosurePolicy(minimum_sites=1))
    assert certain == set()
    assert alike >= 3


def test_an_exact_release_tells_one_day_from_another(lung: pd.DataFrame) -> None:
    """The comparison is sharp: it finds nothing where everything is opened."""
    exact = DisclosurePolicy(minimum_sites=1, release="exact")
    days, place = np.unique(lung.o_time.to_numpy(), return_inverse=True)
    other = moved(days, np.arange(len(days)), np.random.default_rng(1))
    assert (other != days).any()
    assert not same(opened(lung, exact), opened(lung.assign(o_time=other[place]), exact))
