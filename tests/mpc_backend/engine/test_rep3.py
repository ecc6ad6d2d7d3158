"""What is particular to three nodes: who knows which half, who sends how much, and that nobody checks."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mpc_backend import operations as op
from mpc_backend.bench.cli import bench_app, load_lines
from mpc_backend.bench.lines import measure
from mpc_backend.testing import World
from mpc_backend.try_cli import try_app

LIMITS = {
    "multiply": (8, 12.1),
    "compare64": (22.7, 34.1),
    "compare16": (6, 9),
    "equal64": (11, 16.5),
    "bit_to_ring": (8.1, 12.1),
}
"""Bytes a value that the busiest node may send, under rep3 and under rep4."""


@pytest.mark.parametrize("name", LIMITS)
def test_no_node_sends_more_than_its_part(name: str) -> None:
    load_lines()
    n = 40_000
    for protocol, most in zip(("rep3", "rep4"), LIMITS[name], strict=True):
        assert max(measure(name, protocol, n, repeats=1).bytes_sent) <= most * n, protocol


@pytest.mark.parametrize("n", [1, 63, 64, 65, 128, 191, 192, 193, 1000])
def test_every_position_of_a_half_is_known_to_the_right_nodes(n: int) -> None:
    seen = {}

    def program(session, a):  # type: ignore[no-untyped-def]
        seen[session.index] = (a.shares, session.protocol.halves(a.shares, xor=False))

    values = np.arange(n) - 5
    with World("rep3") as world:
        world.run(program, world.share(values))
    first = [np.zeros(n, bool) for _ in range(3)]
    for node, (_, halves) in seen.items():
        first[node][halves.first] = True
    assert (np.sum(first, axis=0) == 1).all(), "one node alone knows the first half of a position"
    total = seen[0][0][0] + seen[0][0][1] + seen[1][0][1]
    assert np.array_equal(total.view(np.int64), values)
    for alone in range(3):
        for other in {0, 1, 2} - {alone}:
            both = seen[alone][1].known + seen[other][1].known
            assert np.array_equal(both[first[alone]], total[first[alone]])


def test_shuffles_take_turns_in_who_sends_most() -> None:
    def program(session, a):  # type: ignore[no-untyped-def]
        for _ in range(3):
            (a,) = op.shuffle([a])
        return a

    with World("rep3") as world:
        out = world.run(program, world.share(np.arange(700)))
        sent = [traffic.bytes_sent for traffic in world.traffic]
    assert sorted(out) == list(range(700))
    opening = 700 * 8
    assert sent == [4 * 700 * 8 + opening] * 3


@pytest.mark.parametrize("columns", [("int",), ("bit",), ("int", "bit", "real"), ("bit", "int")])
@pytest.mark.parametrize("n", [1, 2, 500])
def test_rows_stay_whole_in_shuffles_of_every_kind_and_size(columns: tuple[str, ...], n: int) -> None:
    rng = np.random.default_rng(n)
    kinds = {"int": rng.integers(-9, 9, (n, 2)), "bit": rng.random(n) < 0.5, "real": np.arange(n) / 4}
    chosen = [kinds[name] for name in columns]
    with World("rep3") as world:
        out = world.run(lambda _, *given: op.shuffle(list(given)), *(world.share(v) for v in chosen))
    rows = sorted(zip(*(np.asarray(v).reshape(n, -1).tolist() for v in out), strict=True))
    assert rows == sorted(zip(*(v.reshape(n, -1).tolist() for v in chosen), strict=True))


def test_the_commands_take_rep3(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("age\n" + "".join(f"{age}\n" for age in range(100)))
    tried = CliRunner().invoke(
        try_app,
        ["count", str(file), "--where", "age >= 60", "--protocol", "rep3", "--release", "exact", "--json"],
    )
    found = json.loads(tried.output)
    assert (found["protocol"], found["count"]["value"]) == ("rep3", 40)
    timed = CliRunner().invoke(
        bench_app, ["compare16", "--n", "640", "--protocol", "rep3", "--repeats", "1", "--json"]
    )
    measured = json.loads(timed.output)
    assert (measured["protocol"], len(measured["bytes_sent"])) == ("rep3", 3)


def test_a_deviating_node_is_not_noticed() -> None:
    """What the documentation says that rep3 does not protect from."""

    def flip(sender: int, receiver: int, index: int, payload: bytes) -> bytes:
        return bytes([payload[0] ^ 1]) + payload[1:] if (sender, index) == (1, 0) else payload

    with World("rep3", tamper=flip) as world:
        out = world.run(lambda _, a: a * a, world.share([1, 2, 3]))
    assert out.tolist() != [1, 4, 9]
