"""Which steps of a curve are shown: what pointer jumping finds is what going from step to step finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.disclosure import far_apart
from mpc_backend.session import Session, open_values
from mpc_backend.testing import World

POLICY = DisclosurePolicy(minimum_cell=10, allow_true_zero=True)
COMING = arrays(
    np.int64,
    array_shapes(min_dims=3, max_dims=3, max_side=9),
    elements=st.sampled_from([0, 0, 1, 4, 9, 10, 25]),
)


def shown(session: Session, counts: Any) -> Any:
    return open_values(session, [far_apart(counts, POLICY).to_int()], "test")[0]


def from_step_to_step(counts: Any) -> Any:
    """Of rising counts (views, chains, steps): those that hold k more than the last shown one, in every view."""
    found = np.zeros(counts.shape[1:], dtype=bool)
    for chain in range(counts.shape[1]):
        last = np.zeros(len(counts))
        for step in range(counts.shape[2]):
            here = counts[:, chain, step]
            if (here - last >= POLICY.minimum_cell).all():
                found[chain, step], last = True, here
    return found


@given(COMING)
@settings(max_examples=60, deadline=None)
def test_a_step_is_shown_once_k_have_come_since_the_last(coming: Any) -> None:
    counts = coming.cumsum(2)
    with World("plain") as world:
        assert np.array_equal(world.run(shown, world.share(counts, bits=12)), from_step_to_step(counts))


@pytest.mark.parametrize("protocol", ["rep3", "rep4"])
def test_shares_show_the_same_steps(protocol: str) -> None:
    counts = np.random.default_rng(5).poisson(4, (2, 3, 60)).cumsum(2)
    with World(protocol) as world:
        found = world.run(shown, world.share(counts, bits=12))
    assert np.array_equal(found, from_step_to_step(counts))
    assert found.any(axis=1).all()
    assert max(traffic.rounds for traffic in world.traffic) < 25
