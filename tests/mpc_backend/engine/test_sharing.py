"""Splitting columns into shares, their bytes, and putting them together again."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc_backend.errors import ProtocolAbort, ShareFormatError, ShareMismatch, UnknownProtocol
from mpc_backend.protocols import SHARED
from mpc_backend.protocols.sharing import assemble, combine, decode_share, encode_share, layout, split
from mpc_backend.session import OutputForm, assemble_output, open_values
from mpc_backend.tables import Column
from mpc_backend.testing import Shared, World
from tests.mpc_backend.views import LIMIT, uniform

COLUMNS = [
    (Column(name="v", kind="bit"), np.array([1, 0, 1])),
    (Column(name="v", kind="bit", width=5), np.eye(5, dtype=np.int64)),
    (Column(name="v", kind="int", bits=16, ring=16), np.array([-32768, 0, 32767])),
    (Column(name="v", kind="int", bits=64, width=2), np.array([[-(1 << 62) + 1, 0], [1, (1 << 62) - 1]])),
    (Column(name="v", kind="fixed", scale=20, bits=64), np.array([-1.5, 0.0, 2.0**-20])),
]


def deliveries(protocol: str, encoded: dict[int, bytes]) -> dict[int, dict[int, bytes]]:
    plan = layout(protocol)
    return {node: {share: encoded[share] for share in plan.held[node]} for node in range(plan.nodes)}


@pytest.mark.parametrize("protocol", ["plain", "rep3", "rep4"])
@pytest.mark.parametrize(("column", "values"), COLUMNS)
def test_columns_come_back(protocol: str, column: Column, values: np.ndarray) -> None:
    delivered = deliveries(protocol, split(protocol, column, values))
    assert np.array_equal(assemble(protocol, column, len(values), delivered), values)


@pytest.mark.parametrize(("protocol", "held"), [("rep3", 2), ("rep4", 3)])
def test_an_upload_costs_a_word_for_each_holder_of_a_share(protocol: str, held: int) -> None:
    column = Column(name="v", kind="int", bits=20)
    delivered = deliveries(protocol, split(protocol, column, np.arange(1000)))
    sizes = [sum(len(part) for part in shares.values()) for shares in delivered.values()]
    assert sorted(sizes) == [held * 33, *[(held - 1) * 33 + 8001] * held]


def test_the_bytes_of_a_share() -> None:
    words = np.array([1, 0x0203], np.uint16)
    assert encode_share(words).hex() == "01" + "0100" + "0302"
    assert encode_share(bytes(range(32))).hex() == "00" + bytes(range(32)).hex()
    assert np.array_equal(decode_share(encode_share(words), 2, words.dtype), words)


@given(st.binary(max_size=80), st.integers(0, 9))
@settings(max_examples=200, deadline=None)
def test_foreign_bytes_are_refused_or_have_the_exact_length(payload: bytes, count: int) -> None:
    dtype = np.dtype("<u2")
    try:
        words = decode_share(payload, count, dtype)
    except ShareFormatError:
        return
    assert words.size == count
    assert len(payload) == (33 if payload[0] == 0 else 1 + 2 * count)


@pytest.mark.parametrize("protocol", SHARED)
def test_differing_copies_and_missing_nodes_are_noticed(protocol: str) -> None:
    column = Column(name="v", kind="int", bits=20)
    delivered = deliveries(protocol, split(protocol, column, np.arange(3)))
    last = len(delivered) - 1
    spoilt = {node: dict(shares) for node, shares in delivered.items()}
    spoilt[1][last] = spoilt[1][last][:-1] + bytes([spoilt[1][last][-1] ^ 1])
    with pytest.raises(ShareMismatch, match=f"share {last}"):
        assemble(protocol, column, 3, spoilt)
    with pytest.raises(ShareMismatch, match=f"{last + 1} nodes"):
        assemble(protocol, column, 3, {node: delivered[node] for node in range(last)})
    with pytest.raises(ShareFormatError, match="holds shares"):
        assemble(protocol, column, 3, {**delivered, 0: {1: delivered[0][1]}})


def test_a_protocol_that_does_not_exist() -> None:
    with pytest.raises(UnknownProtocol):
        layout("rep5")


@pytest.mark.parametrize("value", [2, -1])
def test_bits_are_bits(value: int) -> None:
    with pytest.raises(ValueError, match="0 and 1"):
        split("rep4", Column(name="v", kind="bit"), np.array([value]))


@pytest.mark.parametrize("protocol", ["plain", "rep3", "rep4"])
def test_exported_outputs_give_the_values_at_the_recipient(protocol: str) -> None:
    exported = {}

    def program(session, a, f):  # type: ignore[no-untyped-def]
        values = {"twice": a * 2, "large": a > 5, "real": f * 0.5, "total": (a * a).sum()}
        exported[session.index] = session.export_shares(values)

    x = np.arange(10)
    with World(protocol) as world:
        world.run(program, world.share(x, bits=8), world.share(x / 4))
    for name, wanted in {"twice": x * 2, "large": x > 5, "real": x / 8, "total": (x * x).sum()}.items():
        form = exported[0][name][0]
        delivered = {node: shares[name][1] for node, shares in exported.items()}
        found = assemble_output(protocol, form, delivered)
        assert np.allclose(found, wanted, rtol=0, atol=2.0**-18)
        assert np.asarray(found).shape == np.shape(wanted)


VALUES = {
    "bits": lambda session, zero: zero < session.public(0),
    "ring 16": lambda session, zero: zero.narrow(16),
    "ring 64": lambda session, zero: zero,
    "fixed": lambda session, zero: zero.to_fixed(8),
    "public": lambda session, zero: session.public(np.zeros(zero.shape, np.int64)),
}
"""Zeros of every kind; a public one has shares of plain zeros before it is exported."""


def exports(world: World, shared: Shared, kind: str) -> tuple[OutputForm, dict[int, dict[int, bytes]]]:
    """Shares of one value as every node exports them."""
    exported = {}

    def program(session, zero):  # type: ignore[no-untyped-def]
        exported[session.index] = session.export_shares({"value": VALUES[kind](session, zero)})["value"]

    world.run(program, shared)
    return exported[0][0], {node: shares for node, (_, shares) in exported.items()}


@pytest.mark.parametrize("protocol", SHARED)
@pytest.mark.parametrize("kind", VALUES)
def test_exported_shares_are_new_and_uniform_each_time(kind: str, protocol: str) -> None:
    with World(protocol) as world:
        shared = world.share(np.zeros(20_000, np.int64), bits=8)
        runs = [exports(world, shared, kind) for _ in range(2)]
    for form, delivered in runs:
        assert not np.any(assemble_output(protocol, form, delivered))
        for shares in delivered.values():
            for share in shares.values():
                assert uniform({"share": [share[1:]]})["share"] < LIMIT
    (form, first), (_, second) = runs
    for node, shares in first.items():
        for share, data in shares.items():
            ours, theirs = (np.frombuffer(one[1:], np.uint8) for one in (data, second[node][share]))
            assert np.mean(ours == theirs) < 0.02, "two exports of one value share nothing"


@pytest.mark.parametrize("xor", [False, True])
@pytest.mark.parametrize("dtype", ["u2", "u4", "u8"])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (300, 7)])
@pytest.mark.parametrize("protocol", SHARED)
def test_masks_are_equal_copies_that_vanish_in_sum(
    protocol: str, shape: tuple[int, ...], dtype: str, xor: bool
) -> None:
    masks, plan = {}, layout(protocol)

    def program(session):  # type: ignore[no-untyped-def]
        masks[session.index] = [session.protocol.zeros(shape, np.dtype(dtype), xor) for _ in range(2)]

    with World(protocol) as world:
        world.run(program)
        assert [traffic.messages for traffic in world.traffic] == [0] * plan.nodes
    for turn in range(2):
        assert {found[turn].shape for found in masks.values()} == {(len(plan.held[0]), *shape)}
        by_node = {node: [words.reshape(-1) for words in found[turn]] for node, found in masks.items()}
        assert not np.any(combine(protocol, by_node, xor))  # which raises if copies of a share differ
    if shape == (300, 7):
        assert not np.array_equal(*masks[0]), "no mask is used twice"


def test_an_export_costs_the_barrier_and_nothing_else() -> None:
    def program(session, a):  # type: ignore[no-untyped-def]
        square = a * a
        session.protocol.verify()
        rounds, sent = (
            session.protocol.transport.traffic.rounds,
            session.protocol.transport.traffic.bytes_sent,
        )
        session.export_shares({"square": square})
        assert session.protocol.transport.traffic.rounds == rounds
        assert session.protocol.transport.traffic.bytes_sent == sent

    with World("rep4") as world:
        world.run(program, world.share(np.arange(100)))


def test_what_is_opened_or_exported_is_logged_by_purpose_and_form(caplog: pytest.LogCaptureFixture) -> None:
    """At every node, never with a value; what is said to be random is told apart."""

    def program(session, a):  # type: ignore[no-untyped-def]
        open_values(session, [a, a > 5], "age of somebody")
        open_values(session, [a], "order of rows", simulatable=True)
        session.export_shares({"ages": a})

    with caplog.at_level(logging.INFO, "mpc_backend.session"), World("rep3") as world:
        world.run(program, world.share([4711, 4712], bits=16))
    said = [
        "open age of somebody: int (2,)",
        "open age of somebody: bit (2,)",
        "open random order of rows: int (2,)",
    ]
    assert sorted(record.getMessage() for record in caplog.records) == sorted(
        [*said, "export ages: int (2,)"] * 3
    )


def test_nothing_is_exported_or_opened_past_a_failed_check() -> None:
    exported = []

    def program(session, a):  # type: ignore[no-untyped-def]
        exported.append(session.export_shares({"square": a * a}))

    def flip(sender: int, receiver: int, index: int, payload: bytes) -> bytes:
        return bytes([payload[0] ^ 1]) + payload[1:] if (sender, receiver, index) == (0, 2, 0) else payload

    with World("rep4", tamper=flip) as world, pytest.raises(ProtocolAbort):
        world.run(program, world.share([1, 2, 3]))
    assert not exported


def test_the_protocol_itself_refuses_to_open_before_the_barrier() -> None:
    def program(session, a):  # type: ignore[no-untyped-def]
        product = a * a
        return session.protocol.reveal([(product.shares, False)])

    with World("rep4") as world:
        with pytest.raises(ProtocolAbort, match="barrier"):
            world.run(program, world.share([1]))
        opened = world.run(lambda s, a: open_values(s, [a * a], "test")[0].tolist(), world.share([3]))
    assert opened == [9]
