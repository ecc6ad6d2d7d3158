"""The power of two that brings a number to full width, against Python's own bit lengths."""

import numpy as np
import pytest

from mpc_backend.operations.normalise import normaliser
from mpc_backend.testing import World
from mpc_backend.values import SecretInt


@pytest.mark.parametrize(
    ("protocol", "bits"), [("plain", bits) for bits in (1, 2, 3, 7, 8, 9, 31, 33, 60, 61)] + [("rep4", 61)]
)
def test_powers_places_and_presence_at_every_length(protocol: str, bits: int) -> None:
    edges = {0, 1, *(1 << k for k in range(bits)), *((1 << k) - 1 for k in range(1, bits + 1))}
    numbers = np.array(sorted(edges), np.int64)

    def program(session, x):
        found = normaliser(session.protocol, x.flat, bits)
        parts = (found.power, found.present, *found.places.transpose(1, 0, 2))
        return [SecretInt(session.protocol, np.ascontiguousarray(part), 63) for part in parts]

    with World(protocol) as world:
        power, present, *places = world.run(program, world.share(numbers, bits=min(64, bits + 1)))
    lengths = np.array([int(number).bit_length() for number in numbers])
    left = np.where(numbers > 0, bits - lengths, 0)
    assert np.array_equal(power, np.where(numbers > 0, 1 << left, 0))
    assert np.array_equal(present, numbers > 0)
    assert np.array_equal(sum(bit << place for place, bit in enumerate(places)), left)
