"""What a computation costs the nodes, found by running it: the analysis itself on empty tables of the planned shape,
with a protocol that counts. Rounds and bytes do not depend on data, so the count holds for every run of that shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpc_backend.kernels.arrays import Indices, Words
from mpc_backend.protocols import SHARED
from mpc_backend.protocols.base import NONE, HalfProducts, JointInput
from mpc_backend.protocols.plain import Plain
from mpc_backend.transport.memory import MemoryNetwork


@dataclass(frozen=True)
class Cost:
    """Messages deep, and bytes each node sends (mean over nodes, without framing)."""

    rounds: int
    bytes_per_node: int


class Counting(Plain):
    """The cleartext protocol, counting what nodes under another protocol would send."""

    def __init__(self, protocol: str) -> None:
        super().__init__(0, MemoryNetwork(1, 1.0, None, {}).transport(0))
        self._costs = SHARED[protocol].costs
        self.rounds, self.words = 0, 0.0

    @property
    def cost(self) -> Cost:
        """What has been counted so far."""
        return Cost(self.rounds, round(self.words))

    def _count(self, rounds: int, factor: float, results: Words) -> Words:
        self.rounds += rounds
        self.words += factor * results.nbytes
        return results

    def multiply_rows(self, x: Words, y: Words, rows: Indices) -> Words:
        return self._count(1, self._costs.product, super().multiply_rows(x, y, rows))

    def matmul(self, x: Words, y: Words) -> Words:
        product = np.zeros((1, x.shape[1], y.shape[2]), x.dtype)
        return self._count(1, self._costs.product, product)

    def dot(self, x: Words, y: Words) -> Words:
        return self._count(1, self._costs.product, super().dot(x, y))

    def and_rows(
        self, x: Words, y: Words, z: Words, rows: Indices, keep: Indices = NONE, into: Words | None = None
    ) -> Words:
        results = super().and_rows(x, y, z, rows, keep, into)
        self._count(1, self._costs.product, results[:, : rows.shape[1]])
        return results

    def and_(self, x: Words, y: Words) -> Words:
        return self._count(1, self._costs.product, x & y)

    def multiply_halves(self, of: HalfProducts, into: Words | None = None) -> Words:
        results = super().multiply_halves(of, into)
        self._count(1, self._costs.half_product, results[:, : of.rows.shape[1]])
        return results

    def and_halves(self, x: Words, into: Words) -> None:
        super().and_halves(x, into)
        self._count(1, self._costs.half_product, into)

    def joint_input(self, inputs: Sequence[JointInput]) -> list[Words]:
        self.rounds += 1
        self.words += self._costs.joint_input * sum(entry.values.nbytes for entry in inputs)
        return super().joint_input(inputs)

    def shuffle(self, tables: Sequence[tuple[Words, bool]]) -> list[Words]:
        shuffled = super().shuffle(tables)
        self.rounds += self._costs.shuffle_rounds
        self.words += self._costs.shuffle * sum(table.nbytes for table in shuffled)
        return shuffled
