"""Sorting against numpy; what is opened on the way does not depend on the keys."""

import importlib
from collections import Counter, defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc_backend import operations as op
from mpc_backend.operations import radix
from mpc_backend.protocols.plain import Plain
from mpc_backend.testing import World

sort_module = importlib.import_module(
    "mpc_backend.operations.sort"
)  # the package's name of it is the function

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
@settings(max_examples=40, deadline=None)
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


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("method", METHODS)
def test_several_keys_in_their_own_directions_with_columns_of_every_kind(protocol: str, method: str) -> None:
    rng = np.random.default_rng(5)
    first, second, third = rng.integers(-2, 2, 50), rng.random(50) < 0.5, rng.integers(-4, 4, 50) / 4
    wide = rng.integers(-9, 9, (50, 2))
    with World(protocol) as world:
        found = world.run(
            lambda _, a, b, c, d: op.sort([a, b, c], [a, b, c, d], descending=[True, False, True], method=method),
            world.share(first, bits=3, ring=16), world.share(second), world.share(third, scale=2, bits=6),
            world.share(wide),
        )  # fmt: skip
    order = np.lexsort((-third, second, -first))
    for got, column in zip(found, [first, second, third, wide], strict=True):
        assert np.array_equal(got, column[order])


@pytest.mark.parametrize("protocol", ("plain", "rep4"))
def test_keys_of_128_bits_at_their_limits(protocol: str) -> None:
    limits = np.array([(1 << 62) - 1, -(1 << 62) + 1, 0, -1, 1, 1 << 61])
    high, low = (part.reshape(-1) for part in np.meshgrid(limits, limits))
    with World(protocol) as world:
        got = world.run(lambda _, a, b: op.sort([a, b], [a, b]), world.share(high), world.share(low))
    order = np.lexsort((low, high))
    assert np.array_equal(got[0], high[order])
    assert np.array_equal(got[1], low[order])


@pytest.mark.parametrize(
    ("keys", "columns", "message"),
    [(0, 1, "at least one key"), (3, 1, "at most 128 bits"), (1, 2, "the length of their keys")],
)
def test_what_cannot_be_sorted_is_refused(keys: int, columns: int, message: str) -> None:
    def program(_, a, b):  # type: ignore[no-untyped-def]
        return op.sort([a] * keys, [a, b][:columns])

    with World("plain") as world, pytest.raises(ValueError, match=message):
        world.run(program, world.share(np.arange(5)), world.share(np.arange(6)))


class Watched:
    """Answers that were opened while sorting, under a shuffle that the test chooses or leaves to chance."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, order: np.ndarray | None = None) -> None:
        self.opened: list[tuple[bool, ...]] = []
        original = sort_module.open_values

        def watch(holder, values, purpose, *, simulatable=False):  # type: ignore[no-untyped-def]
            assert simulatable
            found = original(holder, values, purpose, simulatable=simulatable)
            self.opened.append(tuple(found[0].tolist()))
            return found

        monkeypatch.setattr(sort_module, "open_values", watch)
        if order is not None:
            monkeypatch.setattr(Plain, "shuffle", lambda _, tables: [table[:, order] for table, _ in tables])

    def sorting(self, key: np.ndarray, times: int = 1) -> list[tuple[bool, ...]]:
        """The answers of sorting one key, again and again."""

        def program(_, k):  # type: ignore[no-untyped-def]
            for _ in range(times):
                op.sort([k], [k], method="quicksort")

        self.opened.clear()
        with World("plain") as world:
            world.run(program, world.share(key, bits=20))
        return list(self.opened)


def test_equal_keys_are_compared_as_different_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """For one shuffle, rows of one key give the same messages and answers as rows already in order."""
    n = 300
    watched = Watched(monkeypatch, np.random.default_rng(3).permutation(n))
    distinct = watched.sorting(np.arange(n) * 1000 - 5)
    assert len(distinct) > 5
    assert watched.sorting(np.zeros(n, np.int64)) == distinct
    assert watched.sorting(np.arange(n) // 7) == distinct
    assert watched.sorting(np.arange(n)[::-1].copy()) != distinct


@pytest.mark.parametrize("key", [[4, 4, 4], [1, 2, 3], [9, 5, -7], [2, 1, 2]], ids=str)
def test_what_is_opened_is_uniform_whatever_the_keys(monkeypatch: pytest.MonkeyPatch, key: list[int]) -> None:
    """The answers for three rows are those of their six orders, each as often as the others."""
    times = 600
    answers = Watched(monkeypatch).sorting(np.array(key), times)
    counts = np.array([answers.count(kind) for kind in set(answers)])
    assert counts.size == 6
    assert (
        (counts - times / 6) ** 2 / (times / 6)
    ).sum() < 25.7  # 5 degrees of freedom: exceeded once in 10,000


ORDERED: dict[str, tuple[Callable[..., object], int]] = {
    "radix": (lambda k: op.sort([k], [k], method="radix"), 2),
    "group_by": (lambda k: op.group_by([k], [k]), 3),
    "distinct": (lambda k: op.distinct([k]), 3),
    "join": (lambda k: op.join([k[2:]], [k[:2]], [k[:2]]), 3),
}
"""What opens where shuffled rows belong, and how often for keys of three bits."""


@pytest.mark.parametrize("name", ORDERED)
@pytest.mark.parametrize("key", [[3, 3, 3], [2, -4, 2]], ids=str)
def test_orders_that_are_opened_are_uniform_whatever_the_keys(
    monkeypatch: pytest.MonkeyPatch, name: str, key: list[int]
) -> None:
    """Each of the six orders of three rows as often as the others. Rows that were not shuffled always have the same."""
    (operate, openings), times = ORDERED[name], 120
    opened: dict[int, Counter[tuple[int, ...]]] = defaultdict(Counter)
    original, now = radix.open_values, [0]

    def watch(holder, values, purpose, *, simulatable=False):  # type: ignore[no-untyped-def]
        found = original(holder, values, purpose, simulatable=simulatable)
        opened[now[0]][tuple(found[0].tolist())] += 1
        now[0] += 1
        return found

    def program(_, k):  # type: ignore[no-untyped-def]
        for _ in range(times):
            now[0] = 0
            operate(k)

    monkeypatch.setattr(radix, "open_values", watch)
    with World("plain") as world:
        world.run(program, world.share(np.array(key), bits=3))
    assert len(opened) == openings
    for answers in opened.values():
        counts = np.array(list(answers.values()))
        assert counts.size == 6, answers
        assert ((counts - times / 6) ** 2 / (times / 6)).sum() < 40  # exceeded once in 10^7


@pytest.mark.parametrize("protocol", ("rep3", "rep4"))
def test_small_sorts_send_the_same_messages_for_all_data(protocol: str) -> None:
    traces = []
    for key in ([0] * 8, list(range(8)), [5, -3, 5, -3, 0, 0, 7, 1]):
        with World(protocol, trace=True) as world:
            world.run(lambda _, k: op.group_by([k], [k]).sums, world.share(np.array(key), bits=40))
            traces.append([traffic.trace for traffic in world.traffic])
    assert traces[0] == traces[1] == traces[2]


def test_nothing_is_opened_beyond_the_comparisons_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are not compared at a level stand behind those that are: the rest of the last word is zero."""
    original, spare = Plain.reveal, []

    def watch(self, values):  # type: ignore[no-untyped-def]
        spare.extend(int(shares[0, -1]) for shares, xor in values if xor and shares.size)
        return original(self, values)

    comparisons = []
    less = sort_module._Beside.less

    def counted(self, others):  # type: ignore[no-untyped-def]
        comparisons.append(others.size)
        return less(self, others)

    monkeypatch.setattr(Plain, "reveal", watch)
    monkeypatch.setattr(sort_module._Beside, "less", counted)
    key = np.full(3000, -1)  # every plane of the key is set in no row and every place differs
    with World("plain") as world:
        world.run(lambda _, k: (op.sort([k], [k], method="quicksort"), None)[1], world.share(key, bits=20))
    asked = [count for count in comparisons if count]
    assert len(spare) == len(asked)
    assert any(count % 64 for count in asked)
    assert all(word >> (count % 64 or 64) == 0 for word, count in zip(spare, asked, strict=True))
