"""The shared rows of a Cox regression: running sums over risk sets, sums over tied deaths, and products kept in range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mpc_backend.analyses.cox_parameters import CoxParameters
from mpc_backend.operations import concatenate, segmented_cumsum, stack
from mpc_backend.values import SecretFixed, SecretInt, SecretValue
from mpc_backend.values.numbers import SecretNumber
from mpc_backend.values.products import dotted, matrix_multiplied, multiplied

X_MAGNITUDE = 7
LIMB = 20
SPREAD_BITS = 20
"""Signed width by which sums over rows may outgrow the values."""


def scale_of(value: SecretNumber) -> int:
    """Fractional bits; none of an integer."""
    return value.scale if isinstance(value, SecretFixed) else 0


def product(left: SecretNumber, right: SecretNumber, scale: int) -> SecretFixed:
    """left * right, cut once to ``scale``; |left right| 2^(sum of scales) < 2^62."""
    whole = SecretFixed(left.protocol, multiplied(left, right), scale_of(left) + scale_of(right))
    return whole.rescaled(scale)


def rounded(value: SecretFixed, scale: int) -> SecretFixed:
    """A value at a smaller scale. Cutting errs downwards, which sums over rows add up: half a unit makes up for most of it."""
    return (value + 2.0 ** -(scale + 1)).rescaled(scale)


def rounded_product(left: SecretFixed, right: SecretFixed, scale: int) -> SecretFixed:
    """As `product`, `rounded`."""
    whole = SecretFixed(left.protocol, multiplied(left, right), left.scale + right.scale)
    return rounded(whole, scale)


def wide_product(left: SecretFixed, right: SecretFixed, scale: int | None = None) -> SecretFixed:
    """left * right at left's scale or another, by two limbs: left below 2^55 as an integer, right in [-1, 1], 24 places."""
    scale = left.scale if scale is None else scale
    high = left.rescaled(left.scale - LIMB)
    low = SecretFixed(left.protocol, left.shares - (high.shares << np.uint64(LIMB)), left.scale, LIMB + 2)
    return product(high, right, scale) + product(low, right, scale)


def crossed(left: SecretNumber, right: SecretNumber) -> SecretFixed:
    """left' right for (n, p) and (n, q) or (n,), uncut: only the result must keep to 2^62, as sums mod 2^64 are exact."""
    return SecretFixed(left.protocol, matrix_multiplied(left.T, right), scale_of(left) + scale_of(right))


def paired(left: Sequence[SecretFixed], right: Sequence[SecretFixed], scale: int) -> SecretFixed:
    """Sum of products of pairs, cut once; all of ``left`` have one scale, and all of ``right``."""
    shape = np.broadcast_shapes(*(each.shape for each in (*left, *right)))
    one, other = (stack([each.broadcast_to(shape) for each in side], axis=-1) for side in (left, right))
    return SecretFixed(one.protocol, dotted(one, other), one.scale + other.scale).rescaled(scale)


@dataclass(frozen=True)
class CoxRows:
    """The rows of all hospitals, one after the other: ``lengths`` rows each, columns as in `cox_tables.rows_spec`.

    ``part`` is None with Breslow's ties, ``stratum`` (n, strata) without declared strata, the rest where not asked for.
    """

    lengths: tuple[int, ...]
    x: SecretFixed
    deaths: SecretInt
    event: SecretInt
    tied: SecretInt
    share: SecretFixed
    part: SecretFixed | None
    stratum: SecretInt | None
    bin: SecretInt | None
    early: SecretFixed | None
    cluster: SecretInt | None

    @property
    def count(self) -> int:
        """Rows in all, padding included."""
        return sum(self.lengths)

    @property
    def size_bits(self) -> int:
        """b with at most 2^b rows."""
        return max(10, math.ceil(math.log2(max(2, self.count))))

    @property
    def step_scale(self) -> int:
        """Of a step 1 / R, which is about 1 / n: twenty bits more."""
        return min(20 + self.size_bits, 40)

    @property
    def sum_scale(self) -> int:
        """Of sums of w x: a mean times 2^(step_scale + sum_scale) stays below 2^61."""
        return min(20, 61 - X_MAGNITUDE - self.step_scale)

    @property
    def expected_scale(self) -> int:
        """Of w A: sums of w A x keep to 2^61."""
        return min(24, 41 - self.size_bits)

    def running(self, values: SecretFixed, *, back: bool = False) -> SecretFixed:
        """Sums of values (n, k) over the rows up to each, or ``back`` over those from each on, in hospital and stratum."""
        parts, start = [], 0
        for length in self.lengths:
            rows = slice(start, start + length)
            parts.append(_running(values[rows], None if self.stratum is None else self.stratum[rows], back))
            start += length
        return concatenate(parts)

    def tied_sums(self, values: SecretFixed) -> tuple[SecretFixed, SecretFixed]:
        """For each row of values (n, k): the sum over all deaths tied with it, and over those of them that come after it."""
        until, after = self._scanned(values, values)
        return until + after - values, after - values

    def cumulative(self, steps: SecretFixed, kept: SecretFixed | None) -> SecretFixed:
        """Sums of steps (n, k) over the deaths up to a row's exit, of those tied with it only what is ``kept`` of them."""
        behind = self.running(steps, back=True)
        if kept is None:
            return behind
        until, after = self._scanned(kept, kept - steps)
        return behind + until + after - kept

    def _scanned(self, until: SecretFixed, after: SecretFixed) -> tuple[SecretFixed, SecretFixed]:
        """Sums within tied deaths, of ``until`` up to each row and of ``after`` from each row on; in the same rounds."""
        scanned = segmented_cumsum(concatenate([until, after[::-1]]), self._flags())
        return scanned[: self.count], scanned[self.count :][::-1]

    def _flags(self) -> SecretInt:
        """Which rows go on with the row before, for rows from the first to the last and then from the last to the first."""
        inner = np.ones(self.count, dtype=np.int64)
        inner[np.cumsum((0, *self.lengths[:-1]))] = 0
        tied = self.tied * inner
        return concatenate([tied, concatenate([tied[1:], tied[:1] * 0])[::-1]]).with_bits(2)


def _running(values: SecretFixed, stratum: SecretInt | None, back: bool) -> SecretFixed:
    total = _cumulated(values, back)
    if stratum is None:
        return total
    # What other strata add: their sums, summed over those before (behind), given back to each row by its one-hot code.
    sums = values.like(matrix_multiplied(stratum.T, values), values.bits + SPREAD_BITS)
    others = _cumulated(sums, back) - sums
    return total - values.like(matrix_multiplied(stratum, others), total.bits)


def _cumulated(values: SecretFixed, back: bool) -> SecretFixed:
    return values[::-1].cumsum(0)[::-1] if back else values.cumsum(0)


def gathered_rows(cox: CoxParameters, sites: Mapping[str, Mapping[str, SecretValue]]) -> CoxRows:
    """The rows of all hospitals under each other."""
    tables = list(sites.values())

    def whole(name: str) -> SecretInt | None:
        if name not in tables[0]:
            return None
        parts = [part for table in tables if isinstance(part := table[name], SecretInt)]
        assert len(parts) == len(tables)
        return concatenate(parts)

    def real(name: str) -> SecretFixed | None:
        if name not in tables[0]:
            return None
        parts = [part for table in tables if isinstance(part := table[name], SecretFixed)]
        assert len(parts) == len(tables)
        return concatenate(parts)

    x, share = real("x"), real("share")
    deaths, event, tied = whole("deaths"), whole("event"), whole("tied")
    assert x is not None and share is not None
    assert deaths is not None and event is not None and tied is not None
    lengths = tuple(table["event"].shape[0] for table in tables)
    return CoxRows(
        lengths, x.reshape(sum(lengths), len(cox.terms)), deaths, event, tied, share, real("part"),
        whole("stratum"), whole("bin"), real("early"), whole("cluster"),
    )  # fmt: skip
