"""Rounding to significant digits on shares, against decimal text."""

import numpy as np
import pytest

from mpc_backend.analyses.significant import rounded_to
from mpc_backend.testing import World


@pytest.mark.parametrize("protocol", ["plain", "rep4"])
@pytest.mark.parametrize("digits", [2, 3])
def test_numbers_of_every_size_keep_their_leading_digits(protocol, digits):
    rng = np.random.default_rng(3)
    edges = [0, 1, 9, 94, 95, 99, 100, 101, 994, 995, 999, 1000, 1049, 1051, 99_949, 99_951, 2**31 - 1]
    numbers = np.array([*edges, *(10 ** rng.uniform(0, 9.3, 300)).astype(np.int64)])
    with World(protocol) as world:
        shared = world.share(numbers, bits=33)
        found = world.run(lambda _, x: rounded_to(x, digits, 2**31 - 1), shared)
    for number, rounded in zip(numbers.tolist(), found.tolist(), strict=True):
        power = 10 ** max(0, len(str(number)) - digits)
        assert rounded == (number + power // 2) // power * power, number
