"""How finely the height of a released curve is shown: no finer than the numbers of persons beside it.

A height with three decimals times the persons of a small arm is a whole number: it would tell how many failed up to each step,
to a person, where the table beside it rounds. So heights are multiples of a step that is worth some persons of the arm.
"""

from __future__ import annotations

import numpy as np

from mpc_backend.operations import select, stack
from mpc_backend.values import SecretFixed, SecretInt

HEIGHT_DECIMALS = 4
ONE = 10**HEIGHT_DECIMALS
STEPS = (5000, 2000, 1000, 500, 200, 100, 50, 20, 10, 5, 2, 1)
"""What heights are multiples of, in units of the last decimal; they are opened as how many of them."""
STEP_PERSONS = 5
"""A step is worth at least this many persons of the arm, as the numbers of the at-risk table are."""
MOST = STEP_PERSONS * ONE
"""Persons of whom so many are worth a unit of the last decimal."""
VARIANCE_DIGITS = 2
"""Significant digits of the variance of a height."""
PERSONS_BITS = 30
HEIGHT_BITS = 16
"""Signed width of a height in its last decimal."""


def step_of(persons: int, finest: int = 1) -> int:
    """What the heights of an arm are multiples of, in units of the last decimal: the smallest of `STEPS` that is worth
    `STEP_PERSONS` of the persons shown for it, and at least ``finest``."""
    fitting = [step for step in STEPS if persons * step >= STEP_PERSONS * ONE]
    return max(min(fitting, default=STEPS[0]), finest)


def steps_in_one(persons: SecretInt, *finest: int) -> list[SecretInt]:
    """How many of `step_of` make 1, by arm, for each ``finest``, from the persons shown (arms,), 0 where hidden."""
    needed = [STEP_PERSONS * ONE // step for step in STEPS[1:]]
    large = (stack([persons - least for least in needed], axis=1).with_bits(PERSONS_BITS) >= 0).to_int()
    found = []
    for least in finest:
        many = np.array([ONE // max(step, least) for step in STEPS])
        found.append(((large * np.diff(many)).sum(1) + int(many[0])).with_bits(15))
    return found


def worth(persons: int) -> float:
    """What `STEP_PERSONS` of the persons shown are worth as a share of them, at least a unit of the last decimal."""
    share: float = STEP_PERSONS / min(max(persons, 1), MOST)
    return share


def times_worth(shares: SecretFixed, persons: SecretInt) -> SecretFixed:
    """Shares in [0, 1] in multiples of `worth`, from the persons shown, both (n,)."""
    counted = select(persons.with_bits(PERSONS_BITS) >= MOST, persons * 0 + MOST, persons)
    found: SecretFixed = (shares * (1.0 / STEP_PERSONS)) * counted
    return found.with_bits(shares.scale + HEIGHT_BITS)
