"""The rounds that docstrings of operations tell are those that are counted."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mpc_backend import operations as op
from mpc_backend.testing import World

CODES = np.arange(256)
TOLD: dict[str, tuple[Callable[..., object], int, int]] = {
    "sums by 16 codes": (lambda d: op.sums_by_code(d["code"].with_bits(5), 16, [d["code"]]), 9, 9),
    "sums by 64 codes": (lambda d: op.sums_by_code(d["code"].with_bits(7), 64, [d["code"]]), 11, 11),
    "two bits of a radix sort": (lambda d: op.sort([d["code"].with_bits(2)], [], method="radix"), 10, 13),
    "running sums": (lambda d: op.segmented_cumsum(d["code"], d["flag"]), 17, 17),
    "20 bits of a number": (lambda d: op.to_bits(d["code"]), 7, 7),
    "numbers of 16 bits": (lambda d: op.from_bits(d["flag"].reshape(16, 16)), 2, 2),
    "a choice": (lambda d: op.select(d["flag"], d["code"], d["code"] + 1), 3, 3),
    "one doubling of an inverse": (lambda d: op.damped_inverse(d["matrix"], 1), 26, 26),
    "two doublings": (lambda d: op.damped_inverse(d["matrix"], 2), 29, 29),
    "five doublings": (lambda d: op.damped_inverse(d["matrix"], 5), 41, 41),
    "an inverse of two columns": (lambda d: op.positive_inverse(d["matrix"]), 2 * 46 + 64, 2 * 46 + 64),
}
"""Under three nodes and under four, without the barrier at the end."""


def rounds(protocol: str, program: Callable[..., object]) -> int:
    def run(_: Any, *shared: Any) -> None:
        program(dict(zip(("code", "flag", "matrix"), shared, strict=True)))

    with World(protocol) as world:
        given = [
            world.share(CODES % 2, bits=20, ring=64),
            world.share(CODES % 3 == 0),
            world.share(np.array([[[4.0, 1.0], [1.0, 3.0]]]), scale=20, bits=38),
        ]
        world.run(run, *given)
        return world.traffic[0].rounds


@pytest.mark.parametrize("name", TOLD)
def test_rounds_are_those_that_are_told(name: str) -> None:
    program, *told = TOLD[name]
    assert [rounds(protocol, program) for protocol in ("rep3", "rep4")] == told


def test_linear_systems_take_no_more_rounds_than_is_told() -> None:
    def after(use: Callable[[Any, Any], object]) -> int:
        def program(d: Any) -> None:
            right = d["matrix"][:, 0]
            use(op.damped_inverse(d["matrix"], 1), right)

        return rounds("rep3", program) - 26

    for bound in (1, 3, 8, 12):
        assert 7 <= after(lambda found, b, bound=bound: found.solve(b, 20, bound)) <= 11  # type: ignore[misc]
        assert 11 <= after(lambda found, b, bound=bound: found.form(b, 20, bound)) <= 15  # type: ignore[misc]
    assert after(lambda found, b: found.matrix(20)) == 4
    assert after(lambda found, b: found.matrix(20, 24)) == 6


def test_counting_bits_takes_more_rounds_than_adding_them() -> None:
    with World("rep4") as world:
        flags = world.share(np.arange(1 << 20) % 3 == 0)
        world.run(lambda _, x: (op.popcount(x), None)[1], flags)
        counted = world.traffic[0].rounds
        world.run(lambda _, x: (x.sum(), None)[1], flags)
        assert (counted, world.traffic[0].rounds) == (20, 4)


def test_bits_of_numbers_cost_what_is_told() -> None:
    sent = {}
    with World("rep4") as world:
        for bits in (8, 32, 63):
            x = world.share(np.arange(3200) % 100, bits=bits)
            world.run(lambda _, a: (op.to_bits(a), None)[1], x)
            sent[bits] = max(traffic.bytes_sent for traffic in world.traffic) / 3200
        world.run(lambda _, a: (op.from_bits(a), None)[1], world.share(np.ones((3200, 8), bool)))
        entering = max(traffic.bytes_sent for traffic in world.traffic) / 3200 / 8
    assert {bits: round(cost, 1) for bits, cost in sent.items()} == {8: 4.8, 32: 34.0, 63: 79.6}
    assert entering == 12
