"""Which numbers of a regression may be opened, decided and rounded on shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses.base import Outputs, Released
from mpc_backend.analyses.disclosure import at_least, masked, release_chain, views
from mpc_backend.analyses.significant import rounded_to
from mpc_backend.operations import concatenate, floor_divide, select, stack
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

SHOWN, FEW, RARE, UNSOLVED = 0, 1, 2, 3
SCALE = 28
DECIMALS = 6
"""Released numbers are whole multiples of 10^-DECIMALS, below 2^31 of them."""
DIGITS = {
    "coefficient": 4, "error": 3, "r_squared": 3, "sigma": 3, "lr": 4,
    "variance": 4, "covariance": 4, "pearson": 3,
}  # fmt: skip
STEPS = {"mean": 1_000}
"""Numbers that count from a declared centre have a fixed step instead, here 10^-3 of the declared scale."""
TOTAL_BITS = 30


@dataclass(frozen=True)
class Found:
    """What a regression computes, as shares: reals by name at any scale, (terms,) or (), and whether they hold ()."""

    numbers: Mapping[str, SecretFixed]
    estimable: SecretBits


def outputs(
    released: Released,
    persons: Mapping[str, SecretInt],
    groups: int,
    terms: int,
    found: Found,
    *,
    events: bool = False,
) -> Outputs:
    """Numbers, state and counts, from persons (1 + levels, groups) by hospital. The counts are persons in all, and with
    ``events`` those of the second group.

    Nothing is shown unless every group of the outcome has k persons in every view and at every declared level and code,
    and there are k persons more than coefficients. In exact release everything that can be estimated is shown, not rounded.
    """
    seen = {site: counts.reshape(-1, groups) for site, counts in persons.items()}
    views_of = views(released, seen).with_bits(TOTAL_BITS)
    everybody = views_of.sum(2).with_bits(TOTAL_BITS)
    if released.policy.release == "exact":
        solved = found.estimable & (everybody[0, 0] > terms)
        numbers = {name: _hidden(value, solved) for name, value in found.numbers.items()}
        return {"state": (~solved).to_int() * UNSOLVED, "persons": views_of[0, 0], **numbers}
    k = released.policy.minimum_cell
    enough = at_least(views_of[:, 0], released.policy).all() & (everybody[:, 0] >= k + terms).all()
    common = at_least(views_of, released.policy).all()
    shown = enough & common & found.estimable
    flags = stack([~enough, enough & ~common, enough & common & ~found.estimable]).to_int()
    state = flags[0] * FEW + flags[1] * RARE + flags[2] * UNSOLVED
    chain = [everybody[:, :1], views_of[:, 0, 1:2]] if events else [everybody[:, :1]]
    cells = concatenate(chain, axis=1)
    states, values = release_chain(
        cells.reshape(len(cells), 1, -1), released.policy, released.policy.rounding
    )
    return {
        "state": state, "persons_state": states[0], "persons": values[0], **_rounded(found.numbers, shown),
    }  # fmt: skip


def _hidden(values: SecretFixed, shown: SecretBits) -> SecretFixed:
    visible = shown.broadcast_to(values.shape)
    return select(visible, values, values * 0)


def _rounded(numbers: Mapping[str, SecretFixed], shown: SecretBits) -> Outputs:
    """Each number to its significant digits, all in the same rounds; 0 unless shown."""
    flat = concatenate([value.rescaled(SCALE).ravel() for value in numbers.values()])
    negative = flat < 0
    size = select(negative, -flat, flat).with_bits(60).exact_round(DECIMALS).with_bits(32)
    out, first = {}, 0
    for name, value in numbers.items():
        part = slice(first, first + value.size)
        short = _short(name, size[part])
        signed = select(negative[part], -short, short)
        visible = shown.reshape(1).broadcast_to(signed.shape)
        out[name] = masked(visible, signed).reshape(value.shape)
        first += value.size
    return dict(out)


def _short(name: str, size: SecretInt) -> SecretInt:
    if name in STEPS:
        return floor_divide(size + STEPS[name] // 2, STEPS[name]) * STEPS[name]
    return rounded_to(size, DIGITS[name], (1 << 31) - 1)


def real(opened: object, exact: bool) -> NDArray[np.float64]:
    """An opened number as a real."""
    values = np.asarray(opened, dtype=np.float64)
    return values if exact else values / 10.0**DECIMALS


def intercept_weights(back: Sequence[float] | NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """The row that gives the intercept, scaled to at most 1, and its size: products with it stay small."""
    size = float(np.abs(np.asarray(back)).max())
    return np.asarray(back, dtype=np.float64) / size, size
