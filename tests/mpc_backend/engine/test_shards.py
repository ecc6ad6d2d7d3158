"""Row shards: the same results for every number of workers, no key twice, and one shard that fails ends the job."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mpc_backend import operations as op
from mpc_backend.errors import AbortKind, PeerAborted, ProtocolAbort
from mpc_backend.prg import Keystream
from mpc_backend.protocols.authenticate import Mac
from mpc_backend.protocols.keys import random_keys
from mpc_backend.session import OutputForm, Session, open_values
from mpc_backend.shards import Done, Task, Total, over_shards
from mpc_backend.shards.rows import UNIT, Bare, row_cuts
from mpc_backend.shards.threads import ShardNetworks
from mpc_backend.testing import World
from mpc_backend.transport.base import Traffic
from mpc_backend.transport.memory import MemoryNetwork
from mpc_backend.transport.shape import LinkShape
from mpc_backend.values import SecretBits, SecretInt

PROTOCOLS = ("plain", "rep3", "rep4")
ROWS = 300
"""Five units of 64 rows, the last one not full."""


def every_kind(
    session: Session,
    a: SecretInt,
    wide: SecretInt,
    flags: SecretBits,
    pairs: SecretBits,
    here: Any,
    limit: Any,
) -> dict[str, Any]:
    """Rows of every kind and totals, from rows of every kind, public rows, and what all shards are given."""
    below = a < limit["most"]
    chosen = flags & below
    return {
        "rows": [a * a, below, pairs & ~pairs[:, ::-1], wide * a[:, None], a.to_fixed(4), (a * here)],
        "totals": (Total((a * chosen).sum()), Total(wide.sum(0)), Total(chosen.to_int().cumsum()[-1:])),
        "twice": op.concatenate([chosen, chosen]),
    }


def share_all(world: World) -> tuple[list[Any], list[Any]]:
    rng = np.random.default_rng(3)
    plain = [rng.integers(-99, 99, ROWS), rng.integers(-9, 9, (ROWS, 3)), rng.random(ROWS) < 0.5,
             rng.random((ROWS, 2)) < 0.5]  # fmt: skip
    return plain, [world.share(plain[0], bits=8), *(world.share(part) for part in plain[1:])]


def run_every_kind(protocol: str, workers: int, **options: Any) -> tuple[Any, World]:
    with World(protocol, workers=workers, **options) as world:
        _, shared = share_all(world)

        def program(session: Session, most: SecretInt, *rows: Any) -> Any:
            return over_shards(session, every_kind, [*rows, np.arange(ROWS) % 7], {"most": most})

        return world.run(program, world.share(np.array([20]), bits=8), *shared), world


def flattened(item: Any) -> list[Any]:
    if isinstance(item, dict):
        return [leaf for part in item.values() for leaf in flattened(part)]
    if isinstance(item, list | tuple):
        return [leaf for part in item for leaf in flattened(part)]
    return [item]


def test_nothing_shows_what_shards_are_given_or_give_back() -> None:
    """Their rows are shares, and their keys a job's."""
    shares = np.full((3, 1), 4711, np.uint64)
    bare = Bare(OutputForm("int", (1,)), shares, 20)
    shown = f"{bare} {Task(None, len, (shares,))} {Done(shares, Traffic())}"
    assert "4711" not in shown


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_results_are_the_same_for_every_number_of_workers(protocol: str) -> None:
    whole, _ = run_every_kind(protocol, 1)
    for workers in (2, 3, 9):
        found, _ = run_every_kind(protocol, workers)
        for one, other in zip(flattened(whole)[:-1], flattened(found)[:-1], strict=True):
            assert np.array_equal(one, other), workers
        assert sorted(found["twice"].tolist()) == sorted(whole["twice"].tolist())
    (a, wide, flags, _), _ = share_all(World(protocol))
    assert whole["totals"][0] == (a * (flags & (a < 20))).sum()
    assert np.array_equal(whole["totals"][1], wide.sum(0))


@pytest.mark.parametrize(
    ("rows", "shards"), [(0, 3), (1, 3), (64, 2), (65, 2), (300, 2), (300, 9), (10_000, 7)]
)
def test_cuts_cover_all_rows_once_and_begin_at_whole_words(rows: int, shards: int) -> None:
    cuts = row_cuts(rows, shards)
    assert np.array_equal(np.concatenate([np.arange(rows)[cut] for cut in cuts] or [[]]), np.arange(rows))
    assert len(cuts) <= shards and all(cut.start % UNIT == 0 and cut.stop > cut.start for cut in cuts)


def doubled(_: Session, a: SecretInt) -> SecretInt:
    return a * a


def opened_within(session: Session, a: SecretInt) -> SecretInt:
    (total,) = open_values(session, [(a * a).sum()], "a sum")
    return over_shards(session, doubled, [a]) + int(total)


def test_a_shard_may_open_and_has_no_shards_of_its_own() -> None:
    with World("rep4", workers=2) as world:
        found = world.run(lambda s, a: over_shards(s, opened_within, [a]), world.share(np.ones(128, int)))
    assert found.tolist() == [65] * 128


@pytest.mark.parametrize("protocol", PROTOCOLS[1:])
def test_shards_send_what_the_whole_sends_and_their_rounds_count_once(protocol: str) -> None:
    def program(session: Session, a: SecretInt) -> None:
        over_shards(session, doubled, [a])

    sent, rounds = [], []
    for workers in (1, 3):
        with World(protocol, workers=workers) as world:
            world.run(program, world.share(np.arange(6400)))
            sent.append([traffic.bytes_sent for traffic in world.traffic])
            rounds.append(max(traffic.rounds for traffic in world.traffic))
    check = 3 * 3 * 16 + 3 * 2 * 16 if protocol == "rep4" else 0
    assert all(0 <= more - less <= check for less, more in zip(*sent, strict=True))
    assert rounds[1] - rounds[0] == (2 if protocol == "rep4" else 0)


@pytest.mark.parametrize("protocol", PROTOCOLS[1:])
def test_messages_do_not_depend_on_data(protocol: str) -> None:
    def program(session: Session, a: SecretInt) -> None:
        over_shards(session, doubled, [a])

    traces = []
    for values in (np.zeros(ROWS, int), np.arange(ROWS)):
        with World(protocol, workers=2, trace=True) as world:
            world.run(program, world.share(values))
            traces.append([traffic.trace for traffic in world.traffic])
    assert traces[0] == traces[1]
    assert {receiver for _, receiver, _ in traces[0][0]} == ({2} if protocol == "rep3" else {1, 2, 3})


def all_of(_: Session, a: SecretInt) -> Total:
    return Total(a.sum())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_total_is_as_wide_as_the_whole_sum_may_be(protocol: str) -> None:
    """Where the parts of four shards are just as wide as their declared widths let them be."""
    with World(protocol, workers=4) as world:
        shared = world.share(np.full(4 * UNIT, 127), bits=8)
        found = world.run(lambda s, a: [(t := over_shards(s, all_of, [a])), t > 0], shared)
    assert found == [4 * UNIT * 127, True]


def test_the_keys_of_a_job_are_roots_and_nothing_is_drawn_from_them(monkeypatch: pytest.MonkeyPatch) -> None:
    roots, used = random_keys(4), set()
    for kind in (Keystream, Mac):
        make = kind.__init__

        def recorded(self: Any, key: bytes, *rest: Any, make: Any = make) -> None:
            used.add(key)
            make(self, key, *rest)

        monkeypatch.setattr(kind, "__init__", recorded)
    monkeypatch.setattr("mpc_backend.testing.random_keys", lambda _: roots)
    with World("rep4", workers=2) as world:
        world.run(lambda s, a: over_shards(s, doubled, [a * a]), world.share(np.arange(ROWS)))
    known = {
        key for one in roots for key in (*one.everyone_but.values(), *one.pair.values(), *one.mac.values())
    }
    assert used and not used & (known | {roots[0].everyone})


@pytest.mark.parametrize("protocol", PROTOCOLS[1:])
def test_no_two_shards_draw_from_one_key(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole, and each shard each time that rows are handed out, have keys of their own for masks and for tags."""
    begun: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    for kind in (Keystream, Mac):
        make = kind.__init__

        def recorded(self: Any, key: bytes, *rest: Any, make: Any = make) -> None:
            begun[threading.current_thread().name].append((rest[0] if rest else 0, key))
            make(self, key, *rest)

        monkeypatch.setattr(kind, "__init__", recorded)

    def program(session: Session, a: SecretInt) -> SecretInt:
        once = over_shards(session, doubled, [a])
        (opened,) = open_values(session, [once.sum()], "a sum")
        return over_shards(session, doubled, [once]) * int(opened)

    with World(protocol, workers=3) as world:
        world.run(program, world.share(np.arange(ROWS) % 4))
    for name, keys in begun.items():
        assert len(keys) == len(set(keys)), f"{name} began one keystream twice"
    by_part: dict[str, set[bytes]] = defaultdict(set)
    for name, keys in begun.items():
        by_part[name.partition("shard")[2] or "whole"] |= {key for _, key in keys}
    assert set(by_part) == {"whole", "-0", "-1", "-2"}
    assert sum(map(len, by_part.values())) == len(set.union(*by_part.values())), "two parts share a key"
    each_time = {name: len(keys) for name, keys in begun.items() if "shard" in name}
    assert set(each_time.values()) == {2 * len(begun["node-0"])}


def flip_message_of(length: int) -> Callable[[int, int, int, bytes], bytes]:
    """Spoil every message from node 1 that has this many bytes."""

    def tamper(sender: int, receiver: int, index: int, payload: bytes) -> bytes:
        return bytes([payload[0] ^ 1]) + payload[1:] if (sender, len(payload)) == (1, length) else payload

    return tamper


SHORT, LONG = 8 * 128, 8 * 172
"""Bytes in a message of a product of the first of two shards, and of the second."""


@pytest.mark.parametrize("length", [SHORT, LONG])
def test_one_spoilt_shard_ends_the_job_and_nothing_comes_back(length: int) -> None:
    came_back: list[int] = []

    def program(session: Session, a: SecretInt) -> SecretInt:
        result = over_shards(session, doubled, [a])
        came_back.append(session.index)
        return result

    world = World("rep4", workers=2, tamper=flip_message_of(length), deadline=20)
    with pytest.raises(ProtocolAbort, match="failed its check") as failed:
        world.run(program, world.share(np.arange(ROWS)))
    assert not isinstance(failed.value, PeerAborted)
    assert not came_back


def on_shard(shard: int, tamper: Callable[..., bytes | None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every network of one shard be tampered with, and nothing else."""
    make = ShardNetworks.of

    def of(self: ShardNetworks, sharing: int, number: int) -> MemoryNetwork:
        network = make(self, sharing, number)
        network.tamper = tamper if number == shard else None
        return network

    monkeypatch.setattr(ShardNetworks, "of", of)


@pytest.mark.parametrize("shard", [0, 1])
def test_every_altered_message_of_a_shard_aborts(
    shard: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tags and verdicts of the shard's own barrier included."""
    seen: list[tuple[int, int, int]] = []
    changes: list[Callable[[bytes], bytes | None]] = [
        lambda m: bytes([m[0] ^ 1]) + m[1:],
        lambda m: bytes(len(m)),
        lambda m: None,
        lambda m: m + b"\0",
        lambda m: m[:-1],
    ]

    def run(tamper: Callable[..., bytes | None]) -> None:
        on_shard(shard, tamper, monkeypatch)
        with World("rep4", workers=2, deadline=20) as world:
            world.run(lambda s, a: over_shards(s, doubled, [a]), world.share(np.arange(ROWS)))
        monkeypatch.undo()

    run(lambda s, r, i, m: (seen.append((s, r, i)), m)[1])
    assert len(seen) > 20
    for place, target in enumerate(seen):
        change = changes[place % len(changes)]
        with pytest.raises(ProtocolAbort):
            run(lambda s, r, i, m, at=target, change=change: change(m) if (s, r, i) == at else m)
        monkeypatch.undo()
    with capsys.disabled():
        print(f"\nshard {shard}: {len(seen)} of {len(seen)} tampered runs aborted; attacked: every message")


@pytest.mark.parametrize("length", [SHORT, LONG])
def test_a_lost_message_of_one_shard_ends_the_job(length: int) -> None:
    def drop(sender: int, receiver: int, index: int, payload: bytes) -> bytes | None:
        return None if (sender, len(payload)) == (1, length) else payload

    with World("rep4", workers=2, tamper=drop, deadline=20) as world, pytest.raises(ProtocolAbort):
        world.run(lambda s, a: over_shards(s, doubled, [a]), world.share(np.arange(ROWS)))


def test_what_came_before_is_checked_before_rows_are_handed_out() -> None:
    """An error that is planted before must not reach a shard, whose own verdict could tell what it met there."""

    def program(session: Session, a: SecretInt) -> SecretInt:
        return over_shards(session, noted, [a * a])  # type: ignore[no-any-return]

    ENTERED.clear()
    world = World("rep4", workers=2, tamper=flip_message_of(8 * ROWS))
    with pytest.raises(ProtocolAbort, match="failed its check"):
        world.run(program, world.share(np.arange(ROWS)))
    assert not ENTERED


ENTERED: list[int] = []


def noted(session: Session, a: SecretInt) -> SecretInt:
    ENTERED.append(session.index)
    return a


def failing(session: Session, a: SecretInt) -> SecretInt:
    if session.index == 2 and len(a) == 172:
        raise RuntimeError("disk full")
    return a * a


def test_a_shard_that_fails_at_one_node_ends_the_job_everywhere() -> None:
    with World("rep4", workers=2, deadline=20) as world, pytest.raises(RuntimeError, match="disk full"):
        world.run(lambda s, a: over_shards(s, failing, [a]), world.share(np.arange(ROWS)))


def test_other_nodes_are_not_told_what_an_error_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    ending = ShardNetworks.abort

    def abort(networks: ShardNetworks, index: int, kind: AbortKind, reason: str) -> None:
        told.append(reason)
        ending(networks, index, kind, reason)

    monkeypatch.setattr(ShardNetworks, "abort", abort)
    with World("rep4", workers=2, deadline=20) as world, pytest.raises(RuntimeError, match="disk full"):
        world.run(lambda s, a: over_shards(s, failing, [a]), world.share(np.arange(ROWS)))
    assert told[0].startswith("RuntimeError: ") and "failing:" in told[0]
    assert "disk full" not in told[0]


def bits_total(_: Session, a: SecretInt) -> Total:
    return Total(a > 0)  # type: ignore[arg-type]


def plaintext(_: Session, a: SecretInt) -> tuple[SecretInt, int]:
    return a, 3


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda _, a: a, "function of a module"),
        (bits_total, "no sum"),
        (plaintext, "secret values and totals"),
    ],
)
def test_work_that_cannot_be_divided_is_refused(work: Any, message: str) -> None:
    with World("plain", workers=2) as world, pytest.raises(TypeError, match=message):
        world.run(lambda s, a: over_shards(s, work, [a]), world.share(np.arange(ROWS)))


def test_columns_of_different_lengths_and_no_workers_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one worker"):
        World("plain", workers=0)
    with World("plain", workers=2) as world, pytest.raises(ValueError, match="one length"):
        world.run(lambda s, a: over_shards(s, doubled, [a, np.arange(3)]), world.share(np.arange(ROWS)))


def test_channels_that_are_used_at_one_time_share_the_link() -> None:
    assert LinkShape.parse("20ms,200Mbit").part(4) == LinkShape.parse("20ms,50Mbit")
