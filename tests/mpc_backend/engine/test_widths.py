"""Declared widths: what comes out at the limits of what goes in keeps to the width that it is given, and to no far wider one.

A width that is too small makes later comparisons wrong, one that is too large makes them dear.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mpc_backend import operations as op
from mpc_backend.session import Session
from mpc_backend.testing import World

BITS, ROWS = 8, 64
LOW, HIGH = -128, 127
RESULTS: dict[str, tuple[Callable[[Any, Any, Any], Any], int]] = {
    "sum of two": (lambda a, b, f: a + b, 0),
    "and a public one": (lambda a, b, f: a + 127, 0),
    "and a bit": (lambda a, b, f: a + f, 1),
    "difference": (lambda a, b, f: a - b, 0),
    "from a public one": (lambda a, b, f: 127 - a, 1),
    "opposite": (lambda a, b, f: -a, 0),
    "product": (lambda a, b, f: a * b, 0),
    "public product": (lambda a, b, f: a * -128, 0),
    "bit product": (lambda a, b, f: a * f, 0),
    "sum": (lambda a, b, f: a.sum(), 0),
    "running sum": (lambda a, b, f: a.cumsum(), 0),
    "sum of bits": (lambda a, b, f: f.sum(), 1),
    "bit": (lambda a, b, f: f.to_int(), 0),
    "inner product": (lambda a, b, f: op.dot(a, b), 0),
    "matrix product": (lambda a, b, f: a.reshape(1, -1) @ b.reshape(-1, 1), 0),
    "chosen": (lambda a, b, f: op.select(f, a, b), 0),
    "chosen or public": (lambda a, b, f: op.select(~f, a, 1000), 0),
    "greatest": (lambda a, b, f: op.amax(a), 0),
    "smaller": (lambda a, b, f: op.minimum(a, b), 0),
    "quotient": (lambda a, b, f: op.floor_divide(a, 3), 1),
    "half": (lambda a, b, f: op.floor_divide(a, 2), 1),
    "true values": (lambda a, b, f: op.popcount(f), 0),
    "set bits": (lambda a, b, f: op.popcount(a), 4),
    "bits of bits": (lambda a, b, f: op.from_bits(op.to_bits(a)), 0),
    "joined": (lambda a, b, f: op.concatenate([a.with_bits(2)[:0], b]), 0),
    "segment sum": (lambda a, b, f: op.segmented_cumsum(a, f), 0),
    "segment copy": (lambda a, b, f: op.segmented_copy(a, f), 0),
    "group sum": (lambda a, b, f: op.group_by([a], [a]).sums[0], 0),
    "group count": (lambda a, b, f: op.group_by([a], [a]).counts, 1),
    "code sum": (lambda a, b, f: op.sums_by_code((a * 0).with_bits(3), 2, [a])[1][0], 1),
    "found": (lambda a, b, f: op.join([(a * 0).with_bits(4)], [(a[:1] * 0).with_bits(4)], [b[:1]])[1][0], 0),
    "whole part": (lambda a, b, f: a.to_fixed(0).floor(), 1),
    "rounded": (lambda a, b, f: a.to_fixed(0).exact_round(1), 1),
}
"""What is computed, and how many bits more than are needed its width may have beside those for the sums' lengths."""


@pytest.mark.parametrize("name", RESULTS)
def test_results_keep_to_their_declared_width(name: str) -> None:
    compute, spare = RESULTS[name]
    widths: list[int] = []

    def program(_: Session, a: Any, b: Any, f: Any) -> Any:
        found = compute(a, b, f)
        widths.append(found.bits)
        return found

    most, least = 0, 0
    with World("plain") as world:
        for x, y in ((LOW, LOW), (LOW, HIGH), (HIGH, LOW), (HIGH, HIGH)):
            a, b = (world.share(np.full(ROWS, v), bits=BITS) for v in (x, y))
            found = np.asarray(world.run(program, a, b, world.share(np.ones(ROWS, bool))))
            most, least = max(most, int(found.max())), min(least, int(found.min()))
    [bits] = set(widths)
    needed = max(most.bit_length(), (-least - 1).bit_length()) + 1
    assert needed <= bits <= needed + 1 + spare
