"""One malicious node: whatever it changes in whichever message, the job aborts and nothing is opened.

For every operation an honest run lists all messages between nodes. Then, for each of them, runs in which that message is
altered must abort. Not failures: a node whose message is altered only for one receiver may let the other two go on to
open after every check of theirs held; what no alteration may do is to let a wrong or unchecked value be opened.
"""

from collections.abc import Callable

import numpy as np
import pytest

from mpc_backend import operations as op
from mpc_backend.errors import ProtocolAbort
from mpc_backend.protocols.rep4 import Rep4
from mpc_backend.testing import World

N = 6
X, Y = np.arange(1, N + 1), np.arange(3, 3 + N)[::-1].copy()
FLAGS = X % 2 == 0
Message = tuple[int, int, int]

OPERATIONS: dict[str, Callable[..., object]] = {
    "open": lambda _, a, b, c, f: a,
    "open bits": lambda _, a, b, c, f: c,
    "multiply": lambda _, a, b, c, f: a * b,
    "multiply ring 16": lambda _, a, b, c, f: a.narrow(16) * b.narrow(16),
    "matmul": lambda _, a, b, c, f: a.reshape(2, 3) @ b.reshape(3, 2),
    "dot": lambda _, a, b, c, f: a @ b,
    "and": lambda _, a, b, c, f: c & ~c[::-1],
    "compare": lambda _, a, b, c, f: a < b,
    "compare 64": lambda _, a, b, c, f: a.with_bits(63) < b.with_bits(63),
    "equal": lambda _, a, b, c, f: a == b,
    "bit to ring": lambda _, a, b, c, f: c.to_int(),
    "bit to ring 16": lambda _, a, b, c, f: c.to_int(16),
    "truncate": lambda _, a, b, c, f: f * f,
    "exact round": lambda _, a, b, c, f: f.exact_round(1),
    "widen": lambda _, a, b, c, f: a.narrow(16).widen(64),
    "floor divide": lambda _, a, b, c, f: op.floor_divide(a, 3),
    "select": lambda _, a, b, c, f: op.select(c, a, b),
    "shuffle": lambda _, a, b, c, f: op.shuffle([a, c]),
    "two steps": lambda _, a, b, c, f: (a * b) * a,
    "quicksort": lambda _, a, b, c, f: op.sort([b.with_bits(5)], [a], method="quicksort"),
    "radix sort": lambda _, a, b, c, f: op.sort([c], [a]),
    "sums by code": lambda _, a, b, c, f: op.sums_by_code(a, 8, [b])[1],
    "popcount": lambda _, a, b, c, f: op.popcount(a.with_bits(4)),
}
LONG: dict[str, Callable[..., object]] = {
    "divide": lambda _, a, b, c, f: op.divide(a, b, 20),
    "sqrt": lambda _, a, b, c, f: op.sqrt(a, 20),
    "log": lambda _, a, b, c, f: op.log(a, 20),
    "running product": lambda _, a, b, c, f: op.prefix_product(f),
    "minimum": lambda _, a, b, c, f: op.minimum(a, b),
    "running sum": lambda _, a, b, c, f: op.segmented_cumsum(a, c),
    "argmax": lambda _, a, b, c, f: op.argmax(a[:3]),
}
LONGEST: dict[str, Callable[..., object]] = {
    "group by": lambda _, a, b, c, f: op.group_by([b.with_bits(5)], [a]).sums,
    "join": lambda _, a, b, c, f: op.join([a[:4].with_bits(5)], [b[:3].with_bits(5)], [b[:3]]),
    "distinct": lambda _, a, b, c, f: op.distinct([b[:4].with_bits(5)])[0],
    "exponential": lambda _, a, b, c, f: op.exp(a[:2], 10),
    "logistic": lambda _, a, b, c, f: op.sigmoid(a[:2], 10),
}
STRIDES = dict.fromkeys(LONGEST, 7) | {"logistic": 19}
"""Of the longest operations, which are made of those above, every seventh message is attacked (of the very longest, every
nineteenth), and the report says so.
"""


class Attack:
    """Alters one message; ``kind`` says how. Remembers what went before on each link, for replays."""

    def __init__(self, target: Message, kind: str, seed: int = 0) -> None:
        self.target, self.kind, self.seed = target, kind, seed
        self.earlier: dict[tuple[int, int], bytes] = {}

    def __call__(self, sender: int, receiver: int, index: int, payload: bytes) -> bytes | None:
        previous = self.earlier.get((sender, receiver))
        self.earlier[sender, receiver] = payload
        return self.altered(payload, previous) if (sender, receiver, index) == self.target else payload

    def altered(self, payload: bytes, previous: bytes | None) -> bytes | None:
        """What arrives instead."""
        at = np.random.default_rng((*self.target, self.seed)).integers(len(payload))
        match self.kind:
            case "flip":
                return payload[:at] + bytes([payload[at] ^ (1 << int(at) % 8)]) + payload[at + 1 :]
            case "zero":
                return bytes(len(payload))
            case "replay":
                return (previous or b"")[: len(payload)].ljust(len(payload), b"\1")
            case "drop":
                return None
            case "truncate":
                return payload[:-1]
            case "lengthen":
                return payload + b"\0"
        raise AssertionError(self.kind)


def run(program: Callable[..., object], tamper: Callable[..., bytes | None], *, trace: bool = False) -> World:
    with World("rep4", tamper=tamper, trace=trace) as world:
        shared = (
            world.share(X, bits=8),
            world.share(Y, bits=8),
            world.share(FLAGS),
            world.share(X / 8, scale=12, bits=20),
        )
        world.run(program, *shared)
    return world


def messages(program: Callable[..., object], openings: list[tuple[int, int]]) -> dict[Message, int]:
    """Every message of an honest run, and how many openings a node may have got to where that one is spoilt: those whose
    verdicts do not come after it.
    """
    seen: list[Message] = []
    openings.clear()
    world = run(program, lambda s, r, i, payload: (seen.append((s, r, i)), payload)[1], trace=True)
    rounds = [round_ for node, round_ in openings if node == 0]
    allowed = {}
    for sender, traffic in enumerate(world.traffic):
        assert traffic.trace is not None
        count: dict[int, int] = {}
        for round_, receiver, _ in traffic.trace:
            index = count.get(receiver, 0)
            count[receiver] = index + 1
            allowed[sender, receiver, index] = sum(opened - 2 < round_ for opened in rounds)
    assert set(seen) == set(allowed)
    return allowed


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Nodes that got as far as plaintext, and in which round its shares travelled."""
    opened: list[tuple[int, int]] = []
    original = Rep4.reveal

    def watched(self: Rep4, values: object) -> object:
        round_ = self.transport.traffic.rounds
        result = original(self, values)  # type: ignore[arg-type]
        opened.append((self.index, round_))
        return result

    monkeypatch.setattr(Rep4, "reveal", watched)
    return opened


def attack_all(
    program: Callable[..., object], kinds: list[list[str]], openings: list[tuple[int, int]], stride: int = 1
) -> str:
    """Attack every ``stride``-th message with one list of ``kinds`` in turn; says how many cases, all of which aborted."""
    cases = 0
    targets = messages(program, openings)
    last = max(round_ for _, round_ in openings)
    for place, (target, allowed) in enumerate(list(targets.items())[::stride]):
        for kind in kinds[place % len(kinds)]:
            openings.clear()
            with pytest.raises(ProtocolAbort):
                run(program, Attack(target, kind))
            reached = [sum(node == k for node, _ in openings) for k in range(4)]
            if kind != "drop":
                assert max(reached) <= allowed, (target, kind)
            assert sum(round_ == last for _, round_ in openings) < 4
            cases += 1
    attacked = (
        f"every message of {len(targets)}" if stride == 1 else f"one message in {stride} of {len(targets)}"
    )
    return f"{cases} of {cases} tampered runs aborted; attacked: {attacked}"


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_altered_message_aborts(
    name: str, openings: list[tuple[int, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    others = [["flip", kind] for kind in ("zero", "replay", "drop", "truncate", "lengthen")]
    report = attack_all(OPERATIONS[name], others, openings)
    with capsys.disabled():
        print(f"\n{name}: {report}")


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG | LONGEST)
def test_every_altered_message_of_longer_operations_aborts(
    name: str, openings: list[tuple[int, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = [["flip"], ["zero"], ["replay"], ["drop"], ["truncate"], ["lengthen"]]
    report = attack_all((LONG | LONGEST)[name], kinds, openings, STRIDES.get(name, 1))
    with capsys.disabled():
        print(f"\n{name}: {report}")


def test_a_program_that_fails_at_one_node_fails_everywhere() -> None:
    def program(session: object, a: object) -> object:
        if session.index == 2:  # type: ignore[attr-defined]
            raise RuntimeError("disk full")
        return a * a  # type: ignore[operator]

    with World("rep4") as world, pytest.raises(RuntimeError, match="disk full"):
        world.run(program, world.share(X))
