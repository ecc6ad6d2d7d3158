"""Rounding to significant digits on shares: how many places are cut depends on the number, and stays as secret as it.

A variance opened to its last place tells how many events it was made of, and when they were; two or three digits of it
serve a reader as well.
"""

from __future__ import annotations

from mpc_backend.operations import stack
from mpc_backend.values import SecretBits, SecretInt
from mpc_backend.values.fixed import SecretFixed

MOST_BITS = 60


def thresholds(digits: int, largest: int) -> tuple[int, ...]:
    """The powers of ten that a number up to ``largest`` is compared with: below the first it keeps every digit."""
    powers = [10**digits]
    while 10 * powers[-1] < largest:
        powers.append(10 * powers[-1])
    return tuple(powers)


def significant(numbers: SecretInt, below: SecretBits, digits: int) -> SecretInt:
    """Numbers (n,) to ``digits`` significant digits, to nearest and halves up, from ``below`` (powers, n), whether each
    is below each of its `thresholds`; one beyond ten times the last keeps more digits.

    The step is a sum of differences of powers of ten, and so is its reciprocal, at a precision that leaves the product
    with the number below 2^60.
    """
    scale = MOST_BITS - (10**digits).bit_length()
    powers = len(below)
    steps = [10**power for power in range(powers + 1)]
    inverses = [-(-(1 << scale) // step) for step in steps]
    flags = below.to_int()
    step, inverse = flags[:1].sum(0) * 0 + steps[-1], flags[:1].sum(0) * 0 + inverses[-1]
    for power in range(powers):
        step = step + flags[power] * (steps[power] - steps[power + 1])
        inverse = inverse + flags[power] * (inverses[power] - inverses[power + 1])
    product = (numbers.with_bits(32) * inverse.with_bits(scale + 1)).with_bits(MOST_BITS + 2)
    quotient = SecretFixed(product.protocol, product.shares, scale, product.bits).exact_round(0)
    rounded: SecretInt = quotient.with_bits((10**digits).bit_length() + 2) * step
    return rounded


def rounded_to(numbers: SecretInt, digits: int, largest: int) -> SecretInt:
    """Numbers (n,) from 0 to ``largest`` to ``digits`` significant digits."""
    below = stack([numbers - power for power in thresholds(digits, largest)]).with_bits(33) < 0
    return significant(numbers, below, digits)
