"""Whether an answer differs from one of the same requester's earlier answers by fewer than k patients: on shares.

Two patients one year apart have similar sets that differ by many persons, but on a single treatment often by few. Whoever is
told both numbers of that treatment is told about these few. So nodes keep, as shares, who was in the similar set of every
answer and which treatments it showed; a later answer does not show a treatment again whose patients differ from those of an
earlier one by 1 to k - 1, on either side, in all or without the patients of a hospital that receives the answer. Nor any that
the earlier answer showed, if both whole sets differ so: the mix of strata and the total would tell of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses.base import Inputs
from mpc_backend.analyses.ranking_parameters import RankingParameters
from mpc_backend.operations import concatenate, stack
from mpc_backend.tables import Column, TableSpec
from mpc_backend.values import SecretBits, SecretInt, SecretValue

EARLIER = "earlier"
Test = tuple[SecretInt, int]


def record_table(parameters: RankingParameters, rows: int) -> TableSpec:
    """One answer: ``member``, whether each row of the people table was in the similar set; ``told``, which treatments were
    shown, and last whether the total was."""
    return TableSpec(
        name=EARLIER,
        level="aggregate",
        rows=1,
        columns=(
            Column(name="member", kind="int", bits=2, ring=parameters.ring, width=rows),
            Column(name="told", kind="int", bits=2, width=len(parameters.treatments) + 1),
        ),
    )


def record(member: SecretInt, told: SecretInt) -> dict[str, SecretValue]:
    """The columns of `record_table` from ``member`` (rows,) and ``told`` (treatments + 1,)."""
    return {"member": member.reshape(1, -1).with_bits(2), "told": told.reshape(1, -1).with_bits(2)}


def members(inputs: Inputs) -> SecretInt | None:
    """Who was in the similar set of each earlier answer (rows, answers), small ring; None: there was none."""
    return _columns(inputs, "member", axis=1)


def _columns(inputs: Inputs, name: str, axis: int) -> SecretInt | None:
    found = []
    for columns in inputs.get(EARLIER, {}).values():
        column = columns[name]
        assert isinstance(column, SecretInt)
        found.append(column.reshape(-1))
    return stack(found, axis=axis) if found else None


def counted(common: SecretInt, member: SecretInt, slices: Sequence[NDArray[np.int64]]) -> list[SecretInt]:
    """Columns (rows, 2 answers) to be counted by treatment for each place, all rows and those of each of ``slices``:
    ``common``, who is in this set and the earlier one, then who was in the earlier one."""
    both = concatenate([common, member], axis=1)
    return [both, *(both * here for here in slices)]


@dataclass(frozen=True)
class Earlier:
    """Earlier answers as a new one is held against them: ``counts`` (treatments, places, 2, answers), of all patients and
    those of each hospital that receives: in both sets, and in the earlier one; ``told`` (answers, treatments + 1)."""

    counts: SecretInt
    told: SecretInt

    @classmethod
    def of(cls, inputs: Inputs, counts: SecretInt) -> Earlier:
        """From counts (treatments, columns of `counted`) in ring 64."""
        told = _columns(inputs, "told", axis=0)
        assert told is not None
        return cls(counts.reshape(len(counts), -1, 2, len(told)), told)

    def tests(self, sizes: SecretInt, k: int) -> list[Test]:
        """What is to be compared for `too_close`; ``sizes`` (views, treatments): this answer's patients.

        An answer that did not tell a treatment has k to spare, and is not near whatever its patients.
        """
        apart = _apart(self.counts, sizes)
        whole = apart[..., -1:].broadcast_to(apart.shape)
        untold = (1 - self.told).with_bits(2) * k
        spared = (stack([apart, whole]) + untold).reshape(-1, untold.shape[1])
        counts = spared.with_bits(max(sizes.bits, k.bit_length() + 1) + 1)
        return [(counts, 1), (counts, k)]


def _apart(counts: SecretInt, sizes: SecretInt) -> SecretInt:
    """How many are in one set alone: (2, views, answers, treatments + 1), this answer's and then the earlier one's; the last
    place is that of all treatments together. A view is all patients, then all without those of each receiving hospital."""
    own = counts.rearranged(lambda words: np.moveaxis(words, (0, 1, 2, 3), (3, 1, 0, 2)))
    views = concatenate([own[:, :1], own[:, :1] - own[:, 1:]], axis=1)  # (2, views, answers, treatments)
    now = sizes.reshape(len(sizes), 1, -1).broadcast_to(views[0].shape)
    by_arm = stack([now - views[0], views[1] - views[0]])
    return concatenate([by_arm, by_arm.sum(3).reshape(*by_arm.shape[:3], 1)], axis=3).with_bits(sizes.bits)


def too_close(none: SecretBits, few: SecretBits) -> SecretBits:
    """From the two comparisons of `Earlier.tests`: whether each treatment, and last the total, is too close to an earlier
    answer, (treatments + 1,)."""
    return (none ^ few).any(axis=0)


def withheld(shown: SecretBits, close: SecretBits) -> SecretBits:
    """Marks of shown treatments (marks, groups, outcomes, treatments) without those that are too close; last among the marks,
    which these are."""
    near = close[:-1].reshape(1, 1, 1, -1).broadcast_to(shown.shape)
    left = shown & ~near
    return concatenate([left, left[:1] ^ shown[:1]], axis=0)
