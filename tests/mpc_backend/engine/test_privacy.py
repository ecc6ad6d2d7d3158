"""What one node sees: uniform words, and the same sequence of messages whatever the data. Analyses: `test_views.py`."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from mpc_backend import operations as op
from mpc_backend import testing
from mpc_backend.errors import ProtocolAbort
from mpc_backend.kernels.arrays import Words
from mpc_backend.prg import Keystream
from mpc_backend.protocols import rep3, rep4
from mpc_backend.protocols.authenticate import Authenticator
from mpc_backend.protocols.base import FIRST_ROWS, HalfProducts, JointInput, Protocol
from mpc_backend.protocols.keys import random_keys
from mpc_backend.protocols.sharing import layout
from mpc_backend.testing import World
from tests.mpc_backend.removal import remove
from tests.mpc_backend.views import (
    LIMIT,
    OPERATIONS,
    PROTOCOLS,
    observed,
    opened_inside,
    surface,
    uniform,
    words_in,
)

N = 2000
SMALL = 300


def matrices(a: Any) -> Any:
    """Whatever the numbers are: a matrix without an inverse is one more case."""
    return a[: 9 * 16].reshape(16, 3, 3).to_fixed(4)


def vectors(b: Any) -> Any:
    return b[:48].reshape(16, 3).to_fixed(4)


PROGRAMS: dict[str, Callable[..., object]] = {
    "amax": lambda a, b: op.amax(a.reshape(-1, 8), 1),
    "amin": lambda a, b: op.amin(a.reshape(-1, 8), 1),
    "argmax": lambda a, b: op.argmax(a.reshape(-1, 8), 1),
    "argmin": lambda a, b: op.argmin(a.reshape(-1, 8), 1),
    "concatenate": lambda a, b: op.concatenate([a, b]),
    "damped_inverse": lambda a, b: op.damped_inverse(matrices(a), 3),
    "distinct": lambda a, b: op.distinct([a[:SMALL]]),
    "divide": lambda a, b: op.divide(a[:200], b[:200], 12),
    "dot": lambda a, b: op.dot(a.reshape(-1, 2), b.reshape(-1, 2)),
    "exp": lambda a, b: op.exp(a[:200].to_fixed(0) * 2.0**-16, 20),
    "floor_divide": lambda a, b: op.floor_divide(a, 10),
    "from_bits": lambda a, b: op.from_bits((a < b).reshape(-1, 20)),
    "group_by": lambda a, b: op.group_by([a[:SMALL].with_bits(10), a[:SMALL]], [b[:SMALL]]),
    "join": lambda a, b: op.join([a[:SMALL]], [b[:SMALL]], [a[:SMALL]]),
    "log": lambda a, b: op.log(b[:200], 20),
    "maximum": op.maximum,
    "minimum": lambda a, b: op.minimum(a, 7),
    "popcount": lambda a, b: [op.popcount(a), op.popcount(a < b)],
    "positive_inverse": lambda a, b: op.positive_inverse(matrices(a)).deficient,
    "prefix_product": lambda a, b: op.prefix_product(a.to_fixed(0)[:SMALL] * 2.0**-19),
    "ratio_of_counts": lambda a, b: op.ratio_of_counts(a.with_bits(17)[:200], b.with_bits(17)[:200], 12),
    "reciprocal": lambda a, b: op.reciprocal(b[:200], 20),
    "segmented_copy": lambda a, b: op.segmented_copy(a, a == b),
    "segmented_cumsum": lambda a, b: op.segmented_cumsum(a, a == b),
    "select": lambda a, b: op.select(a < 9, a, b),
    "shuffle": lambda a, b: op.shuffle(op.shuffle([a, b, a < b])),
    "sigmoid": lambda a, b: op.sigmoid(a[:100], 12),
    "sigmoid_and_softplus": lambda a, b: op.sigmoid_and_softplus(a[:100], 12),
    "sort": lambda a, b: [op.sort([k[:SMALL]], [b[:SMALL]]) for k in (a.with_bits(6), a)],
    "sqrt": lambda a, b: op.sqrt(a[:200], 12),
    "stack": lambda a, b: op.stack([a, b]),
    "sums_by_code": lambda a, b: op.sums_by_code(a, 16, [b]),
    "to_bits": lambda a, b: op.to_bits(a),
    "ScaledInverse.solve": lambda a, b: op.damped_inverse(matrices(a), 1).solve(vectors(b), 20),
    "ScaledInverse.matrix": lambda a, b: op.damped_inverse(matrices(a), 1).matrix(20),
    "ScaledInverse.errors": lambda a, b: op.damped_inverse(matrices(a), 1).errors(20),
    "ScaledInverse.form": lambda a, b: op.damped_inverse(matrices(a), 1).form(vectors(b), 20),
}
"""Every function that `operations` offers, and every method of what they return."""
OPERATORS: dict[str, Callable[..., object]] = {
    "product": lambda a, b: a * b,
    "matrix product": lambda a, b: a.reshape(40, 50) @ b.reshape(50, 40),
    "equality": lambda a, b: (a == b) | (a == 7),
    "order": lambda a, b: [(a < b).to_int(32).sum(), (a >= b).sum()],
    "real product": lambda a, b: a.to_fixed(8) * b.to_fixed(8),
    "floor and rounding": lambda a, b: [a.to_fixed(8).floor(), b.to_fixed(8).exact_round(2)],
    "another ring": lambda a, b: [a.narrow(32).widen(64), (a < b).cumsum()],
}
FREE = {"concatenate", "stack"}


def test_every_operation_is_looked_at() -> None:
    assert set(PROGRAMS) == surface()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", [*PROGRAMS, *OPERATORS])
def test_every_nodes_view_is_uniform_and_messages_do_not_depend_on_data(
    name: str, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    program, rng = (PROGRAMS | OPERATORS)[name], np.random.default_rng(4)
    data = [
        (np.zeros(N, np.int64), np.ones(N, np.int64)),
        (rng.integers(0, 1 << 19, N), rng.integers(1, 1 << 19, N)),
    ]
    traces = []
    for values in data:
        with caplog.at_level(logging.INFO):
            seen = observed(
                protocol,
                lambda _, a, b: program(a, b),
                lambda world: [world.share(v, bits=20) for v in values],  # noqa: B023
            )
        traces.append(seen.trace)
        for view in seen.views:
            assert name in FREE or words_in(view) > N / 4
            assert all(distance < LIMIT for distance in uniform(view).values()), uniform(view)
    assert traces[0] == traces[1]
    assert not opened_inside(caplog.records)


# One node's view given all that it holds itself: no randomness is left but what it does not know


def primitives(protocol: Protocol, secret: Callable[..., Words]) -> None:
    """Every operation of a protocol once, on operands that are made by ``secret(shape, dtype)``; of several blocks, so
    that a mask used in two of them is seen.
    """
    n = 36_000
    for dtype in (np.uint16, np.uint32, np.uint64):
        protocol.multiply_rows(secret((1, n), dtype), secret((1, n), dtype), FIRST_ROWS)
        x, y = secret((2, n), dtype), secret((2, n), dtype)
        protocol.multiply_halves(HalfProducts(x, y, x, np.array([[1, -1], [0, 1], [0, 1]]), (3, -2)))
    protocol.matmul(secret((64, 9), np.uint64), secret((9, 64), np.uint64))
    protocol.dot(secret((n, 2), np.uint64), secret((n, 2), np.uint64))
    protocol.and_(secret((n,), np.uint64), secret((n,), np.uint64))
    protocol.and_halves(secret((3, n), np.uint64), secret((2, n), np.uint64))
    for xor in (False, True):
        protocol.joint_input([JointInput(protocol.halves(secret((n,), np.uint64), xor).known, xor)])
    for _ in range(3):  # three nodes take turns
        protocol.shuffle([(secret((n, 2), np.uint64), False), (secret((n, 1), np.uint64), True)])
    protocol.zeros((n,), np.dtype(np.uint64), xor=True)


def view_of(protocol: str, node: int, patch: pytest.MonkeyPatch) -> dict[str, list[bytes]]:
    """What ``node`` receives where its own shares are zero and so is every keystream that it knows.

    Whatever these are, the view has to be uniform; zeros make it plain, because the secret is then the one share that the
    node lacks, and a message without a mask is a function of the secret.
    """
    held = layout(protocol).held
    (lacking,) = set(range(len(held))) - set(held[node])

    def program(session: Any) -> None:
        def secret(shape: tuple[int, ...], dtype: Any) -> Words:
            shares = np.zeros((len(held[session.index]), *shape), dtype)
            for component, share in enumerate(held[session.index]):
                shares[component] = 5 * (share == lacking)
            return shares

        primitives(session.protocol, secret)

    with knowing(protocol, node, patch):
        return observed(protocol, program, lambda _: []).views[node]


@contextmanager
def knowing(protocol: str, node: int, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every keystream that ``node`` knows is zero, under keys drawn anew."""
    keys = random_keys(layout(protocol).nodes)
    own = keys[node].derived(b"whole")
    known = {own.everyone, *own.everyone_but.values(), *own.pair.values()}
    make, fill = Keystream.__init__, Keystream.fill

    def made(self: Any, key: bytes) -> None:
        self.is_known = key in known
        make(self, key)

    def filled(self: Any, out: Words) -> None:
        fill(self, out)
        if self.is_known:
            out[...] = 0

    with patch.context() as inner:
        inner.setattr(Keystream, "__init__", made)
        inner.setattr(Keystream, "fill", filled)
        inner.setattr(testing, "random_keys", lambda _: keys)
        yield


def distances(view: dict[str, list[bytes]]) -> Iterator[float]:
    """Of the messages of each operation; those of a shuffle are many, so that a sample of all misses blocks that are alike,
    and each is looked at by itself as well.
    """
    yield from uniform(view).values()
    for message in view["shuffle"]:
        yield from uniform({"shuffle": [message]}).values()


@pytest.mark.parametrize(("protocol", "node"), [(p, n) for p in PROTOCOLS for n in range(layout(p).nodes)])
def test_a_view_is_uniform_given_all_that_the_node_knows(
    protocol: str, node: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = view_of(protocol, node, monkeypatch)
    assert set(view) == set(OPERATIONS) - {"halves", "zeros", "verify", "reveal"}
    assert all(distance < LIMIT for distance in distances(view)), uniform(view)


@pytest.mark.parametrize(("protocol", "node"), [(p, n) for p in PROTOCOLS for n in range(layout(p).nodes)])
def test_no_node_knows_the_order_of_shuffled_rows(
    protocol: str, node: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that a node draws the same, each of three shuffles (three nodes take turns) has another order every time."""

    def program(session: Any) -> list[Any]:
        rows = session.public(np.arange(40))
        return [op.shuffle([rows])[0] for _ in range(3)]

    def orders() -> list[list[int]]:
        with knowing(protocol, node, monkeypatch), World(protocol) as world:
            return [order.tolist() for order in world.run(program)]

    first, second = orders(), orders()
    assert all(sorted(order) == list(range(40)) for order in first)
    assert all(one != other for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_a_protocol_sends_for_an_operation_depends_on_shapes_alone(protocol: str) -> None:
    held = layout(protocol).held

    def program(session: Any, most: int) -> None:
        streams = [np.random.default_rng(share) for share in held[session.index]]

        def secret(shape: tuple[int, ...], dtype: Any) -> Words:
            return np.stack([stream.integers(0, most, shape).astype(dtype) for stream in streams])

        primitives(session.protocol, secret)
        session.protocol.verify()

    runs = [observed(protocol, lambda s, m=most: program(s, m), lambda _: []) for most in (1, 1 << 15)]
    assert runs[0].trace == runs[1].trace and all(runs[0].trace)
    assert runs[0].asked == runs[1].asked


MASKS: list[tuple[str, Any, str, str, str]] = [
    ("rep3", rep3.Rep3, "_product", "stream.fill(mask[: stop - start])", "mask[: stop - start] = 0"),
    (
        "rep3", rep3.Rep3, "joint_input",
        "(np.bitwise_xor if entry.xor else np.subtract)(values[..., own], mask)", "values[..., own].copy()",
    ),
    ("rep3", rep3.Rep3, "_kernel_by_thirds", "after.fill(later)", "later[...] = 0"),
    ("rep3", rep3, "_masked", "stream.fill(drawn)", "drawn[...] = 0"),
    ("rep4", rep4.Rep4, "_local_block", "self._but[self._node(row + 1)].fill(masks[row])", "masks[row] = 0"),
    (
        "rep4", rep4.Rep4, "_local_block",
        "self._but[self._node(1 if role.forward else 3)].fill(masks[3])", "masks[3] = 0",
    ),
    ("rep4", rep4.Rep4, "_local_block", "self._but[self._node(2)].fill(masks[4])", "masks[4] = 0"),
    (
        "rep4", rep4.Rep4, "_enter",
        "(np.bitwise_xor if entry.xor else np.subtract)(values[place], mask, out=message)", "message[...] = values[place]",
    ),
    ("rep4", rep4.Rep4, "_half_product", "self._but[share].fill(row)", "row[...] = 0"),
    ("rep4", rep4.Rep4, "_zero_rows", "self._but[outsider].fill(mask)", "mask[...] = 0"),
]  # fmt: skip
AGAIN: list[tuple[str, Any, str, str, str]] = [
    ("rep3", rep3.Rep3, "_product", "stream.fill(mask[: stop - start])", "start or stream.fill(mask[:stop])"),
    ("rep3", rep3.Rep3, "_kernel_by_thirds", "after.fill(later)", "start or after.fill(later)"),
    ("rep3", rep3, "_masked", "stream.fill(drawn)", "start or stream.fill(drawn)"),
    (
        "rep4", rep4.Rep4, "_local_block",
        "self._but[self._node(2)].fill(masks[4])", "block.start or self._but[self._node(2)].fill(masks[4])",
    ),
    (
        "rep4", rep4.Rep4, "_half_product",
        "self._but[share].fill(row)", "start or self._but[share].fill(row)",
    ),
    (
        "rep4", rep4.Rep4, "_permuted",
        "self._zero_rows(scratch, xor, outsider)",
        "scratch[:3] if 0 < start <= rows - step else self._zero_rows(scratch, xor, outsider)",
    ),
]  # fmt: skip


@pytest.mark.parametrize("mask", [*MASKS, *AGAIN], ids=lambda m: f"{m[0]} {m[2]} {m[4]}")
def test_a_mask_that_is_left_out_or_used_again_is_seen(mask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    protocol, owner, function, drawn, instead = mask
    remove(monkeypatch, owner, function, drawn, instead)
    views = (view_of(protocol, node, monkeypatch) for node in range(layout(protocol).nodes))
    assert any(distance > LIMIT for view in views for distance in distances(view))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shares_at_one_node_are_uniform(protocol: str) -> None:
    with World(protocol) as world:
        shared = world.share(np.zeros(20_000, np.int64))
    for shares in shared.by_node:
        assert uniform({"shares": [shares.tobytes()]})["shares"] < LIMIT


def test_verdicts_tell_no_node_which_comparison_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one honest comparison failing or two, what a third node receives as verdicts looks the same: never zero parts."""
    received: list[bytes] = []

    def watch(sender: int, receiver: int, index: int, payload: bytes) -> bytes:
        if receiver == 0 and len(payload) == 16:
            received.append(payload)
        return payload

    original = Authenticator._compare_tags
    for failing in ((1,), (1, 2), (1, 2, 3)):
        received.clear()

        def compare(self: Authenticator, failing: tuple[int, ...] = failing) -> bool:
            return original(self) and self._transport.index not in failing

        monkeypatch.setattr(Authenticator, "_compare_tags", compare)
        with World("rep4", tamper=watch) as world, pytest.raises(Exception, match="failed its check"):
            world.run(lambda _, a: a * a, world.share([1, 2, 3]))
        verdicts = [int.from_bytes(part, "big") for part in received[-3:]]
        assert len(set(verdicts)) == 3
        assert 0 not in verdicts
        assert verdicts[0] ^ verdicts[1] ^ verdicts[2] != 0


def test_a_node_that_noticed_stops_even_if_no_other_did(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[int] = []
    original = Authenticator._compare_tags

    def compare(self: Authenticator) -> bool:
        return original(self) and self._transport.index != 1

    def program(session, a):  # type: ignore[no-untyped-def]
        product = a * a
        session.protocol.verify()
        passed.append(session.index)
        return product

    monkeypatch.setattr(Authenticator, "_compare_tags", compare)
    with World("rep4") as world, pytest.raises(ProtocolAbort):
        world.run(program, world.share([1, 2, 3]))
    assert not passed
