"""What one node sees: uniform bytes, and the same sequence of messages whatever the data."""

from collections.abc import Callable

import numpy as np
import pytest

from mpc_backend import operations as op
from mpc_backend.errors import ProtocolAbort
from mpc_backend.protocols.authenticate import Authenticator
from mpc_backend.protocols.sharing import layout
from mpc_backend.testing import World

PROGRAMS: dict[str, Callable[..., object]] = {
    "multiply": lambda _, a, b: a * b,
    "matrix product": lambda _, a, b: a.reshape(40, 100) @ b.reshape(100, 40),
    "dot": lambda _, a, b: op.dot(a.reshape(1000, 4), b.reshape(1000, 4)),
    "equal": lambda _, a, b: (a == b) | (a == 7),
    "compare": lambda _, a, b: (a < b).to_int(32).sum(),
    "truncate": lambda _, a, b: a.to_fixed(8) * b.to_fixed(8),
    "two shuffles": lambda _, a, b: op.shuffle(op.shuffle([a, b])),
    "divide": lambda _, a, b: op.divide(a[:200], b[:200], 12),
    "floor divide": lambda _, a, b: op.floor_divide(a, 10),
    "radix sort": lambda _, a, b: op.sort([a.with_bits(6)], [b], method="radix"),
    "group by": lambda _, a, b: op.group_by([a.with_bits(4)], [b]),
    "sums by code": lambda _, a, b: op.sums_by_code(a, 16, [b]),
    "popcount": lambda _, a, b: op.popcount(a < b),
    "logistic": lambda _, a, b: op.sigmoid(a[:100], 12),
}
N = 4000
PROTOCOLS = ("rep3", "rep4")


def observed(
    protocol: str, program: Callable[..., object], x: np.ndarray, y: np.ndarray
) -> tuple[list[bytes], list[object]]:
    """All bytes each node receives before the result is opened, and the trace of each node's messages."""
    views: list[list[bytes]] = [[] for _ in range(layout(protocol).nodes)]

    def watch(sender: int, receiver: int, index: int, payload: bytes) -> bytes:
        views[receiver].append(payload)
        return payload

    with World(protocol, tamper=watch, trace=True) as world:
        a, b = world.share(x, bits=20), world.share(y, bits=20)
        world.run(lambda s, a, b: (program(s, a, b), None)[1], a, b)
        return [b"".join(view) for view in views], [traffic.trace for traffic in world.traffic]


def chi_square(data: bytes) -> float:
    """Standardised chi-square of byte counts against the uniform distribution: about N(0, 1)."""
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    expected = len(data) / 256
    return float((((counts - expected) ** 2 / expected).sum() - 255) / np.sqrt(2 * 255))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_nodes_view_is_uniform_and_messages_do_not_depend_on_data(name: str, protocol: str) -> None:
    rng = np.random.default_rng(4)
    data = [
        (np.zeros(N, np.int64), np.ones(N, np.int64)),
        (np.full(N, (1 << 19) - 1), np.full(N, 7)),
        (rng.integers(0, 1 << 19, N), rng.integers(1, 1 << 19, N)),
    ]
    runs = [observed(protocol, PROGRAMS[name], x, y) for x, y in data]
    for views, trace in runs:
        assert trace == runs[0][1]
        for view in views:
            assert len(view) > N
            assert abs(chi_square(view)) < 5.5


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shares_at_one_node_are_uniform(protocol: str) -> None:
    with World(protocol) as world:
        shared = world.share(np.zeros(20_000, np.int64))
    for shares in shared.by_node:
        assert abs(chi_square(shares.tobytes())) < 5.5


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
