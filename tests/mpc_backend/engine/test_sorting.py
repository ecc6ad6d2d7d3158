"""Sorting against numpy; what is opened on the way does not depend on the keys."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc_backend import operations as op
from mpc_backend.testing import World

PROTOCOLS = ("plain", "rep3", "rep4")
METHODS = ("radix", "quicksort")


def places_of(key: np.ndarray, protocol: str, bits: int, method: str, descending: bool = False) -> np.ndarray:
    """Original places in sorted order."""
    with World(protocol) as world:
        given_key, place = world.share(key, bits=bits), world.share(np.arange(key.size))
        (order,) = world.run(
            lambda _, k, i: op.sort([k], [i], descending=descending, method=method), given_key, place
        )
    return order


@st.composite
def keys(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Keys of some width, many of them equal or at its limits."""
    bits = draw(st.sampled_from([2, 5, 8, 16, 21, 63]))
    half = 1 << (bits - 1)
    some = st.one_of(st.integers(-half, half - 1), st.sampled_from([0, -1, -half, half - 1]))
    pool = draw(st.lists(some.filter(lambda x: abs(x) < 1 << 62), min_size=1, max_size=6))
    return np.array(draw(st.lists(st.sampled_from(pool), max_size=40)), np.int64), bits


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=60, deadline=None)
@given(keys(), st.booleans())
def test_sorting_is_stable_at_every_width(method: str, key: tuple[np.ndarray, int], down: bool) -> None:
    values, bits = key
    expected = np.argsort(-values if down else values, kind="stable")
    assert np.array_equal(places_of(values, "plain", bits, method, down), expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 70])
def test_sorting_among_nodes(protocol: str, n: int, method: str) -> None:
    key = np.random.default_rng(n).integers(-4, 4, n)
    assert np.array_equal(places_of(key, protocol, 4, method), np.argsort(key, kind="stable"))
