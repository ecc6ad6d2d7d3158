"""One node that holds everything in the clear: the same programs on plain words, for tests and comparison.

Not a protocol a federation can name: it protects nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from mpc_backend.kernels.arrays import Indices, Words, WordType
from mpc_backend.kernels.matrices import matrix_product
from mpc_backend.protocols.base import NONE, Costs, HalfProducts, Halves, JointInput, Protocol


class Plain(Protocol):
    """Cleartext with the semantics of shares: one component, which is the value itself."""

    name: ClassVar[str] = "plain"
    nodes: ClassVar[int] = 1
    components: ClassVar[int] = 1
    costs: ClassVar[Costs] = Costs(0, 0, 0, 0, 0)

    @property
    def public_component(self) -> int | None:
        return 0

    def multiply_rows(self, x: Words, y: Words, rows: Indices) -> Words:
        return x[:, rows[0]] * y[:, rows[1]]

    def matmul(self, x: Words, y: Words) -> Words:
        return matrix_product(x[0], y[0].T)[None]

    def dot(self, x: Words, y: Words) -> Words:
        return np.sum(x * y, axis=-1, dtype=x.dtype)

    def and_rows(
        self, x: Words, y: Words, z: Words, rows: Indices, keep: Indices = NONE, into: Words | None = None
    ) -> Words:
        plus, second = rows[2] >= 0, rows[3] >= 0
        right = y[:, rows[1]]
        right[:, second] ^= y[:, rows[3][second]]
        out = x[:, rows[0]] & right
        out[:, plus] ^= z[:, rows[2][plus]]
        if into is None:
            return np.concatenate((out, z[:, keep]), axis=1)
        into[:, : rows.shape[1]] = out
        return into

    def halves(self, x: Words, xor: bool) -> Halves:
        """h0 = x, and h1 = 0 everywhere."""
        return Halves(x[0], slice(None))

    def joint_input(self, inputs: Sequence[JointInput]) -> list[Words]:
        return [entry.values.copy()[None] for entry in inputs]

    def multiply_halves(self, of: HalfProducts, into: Words | None = None) -> Words:
        if into is None:
            return of.plus[:, of.rows[2]]
        into[:, : of.rows.shape[1]] = of.plus[:, of.rows[2]]
        return into

    def and_halves(self, x: Words, into: Words) -> None:
        into[...] = 0

    def shuffle(self, tables: Sequence[tuple[Words, bool]]) -> list[Words]:
        order = np.random.default_rng(secrets.randbits(128)).permutation(tables[0][0].shape[1])
        return [table[:, order] for table, _ in tables]

    def zeros(self, shape: tuple[int, ...], dtype: WordType, xor: bool) -> Words:
        return np.zeros((1, *shape), dtype)

    def verify(self) -> None:
        """Nothing to check."""

    def reveal(self, values: Sequence[tuple[Words, bool]]) -> list[Words]:
        return [value[0].copy() for value, _ in values]
