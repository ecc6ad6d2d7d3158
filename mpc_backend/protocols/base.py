"""The smallest set of operations a protocol must have; everything else is built from them.

Shares of an array of shape s at one node are one array (components, *s): how many components, and which shares they are,
is the protocol's affair. Whatever is linear (adding, summing, indexing, multiplying by public integers) is done on that
array directly, componentwise, in the ring of its word type (or with XOR for bits, packed 64 to a word).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from mpc_backend.kernels.arrays import Indices, Words, WordType, operand, ring_words
from mpc_backend.transport.base import Transport

NONE: Indices = np.zeros(0, np.int64)
FIRST_ROWS: Indices = np.zeros((2, 1), np.int64)
OWN_ROWS: Indices = np.array([[-1], [0], [0]], np.int64)


@dataclass(frozen=True)
class Halves:
    """x = h0 + h1 (or h0 XOR h1) as one node sees it: at every position it knows one of the two in full.

    ``known``: h0 at the positions ``first`` of the last axis, h1 everywhere else.
    """

    known: Words
    first: slice

    def plus(self, offset: int) -> Halves:
        """The halves of x + offset: h0 + offset and h1."""
        known = self.known.copy()
        known[..., self.first] += known.dtype.type(offset)
        return Halves(known, self.first)

    def opposed(self) -> Words:
        """h0 and -h1, which are equal exactly where x = 0."""
        values = np.negative(self.known)
        values[..., self.first] = self.known[..., self.first]
        return values


@dataclass(frozen=True)
class JointInput:
    """A function of both halves of a shared array, to be brought in anew.

    ``values``: the function, applied elementwise to what this node knows; it must take 0 to 0. The last axis runs over
    the positions of the halves, one to an element in a ring; with ``xor`` 64 to a packed word.
    """

    values: Words
    xor: bool


class HalfProducts(NamedTuple):
    """Products of halves to be taken, of rows x, y (their halves x0 + x1, y0 + y1) and z of ``plus``:

        out[r] = z + factors[r] (x0 y1 + x1 y0), x = x[rows[0, r]], y = y[rows[1, r]], z = plus[rows[2, r]]
        out[r] = z + factors[r] y0 y1            where rows[0, r] is -1

    x, y, plus: (c, any, w) of one ring whose last axis is as it came from `Protocol.halves` or `Protocol.joint_input`; rows:
    (3, R).
    """

    x: Words
    y: Words
    plus: Words
    rows: Indices
    factors: tuple[int, ...]

    @property
    def operands(self) -> tuple[Words, Words, Words, Indices, Words]:
        """All of it as kernels take it."""
        x, y, plus = operand(self.x), operand(self.y), operand(self.plus)
        return x, y, plus, self.rows, ring_words(self.factors, x.dtype)


@dataclass(frozen=True)
class Costs:
    """Words each node sends (mean over nodes) per word of result, and the rounds of a shuffle; all else takes one."""

    product: float
    half_product: float
    joint_input: float
    shuffle: float
    shuffle_rounds: int


class Protocol(ABC):
    """One node's part of a protocol run over a transport.

    All nodes call the same methods in the same order with the same shapes; that order numbers the steps from which
    randomness is drawn. Every method may raise ProtocolAbort.
    """

    name: ClassVar[str]
    nodes: ClassVar[int]
    components: ClassVar[int]
    costs: ClassVar[Costs]

    def __init__(self, index: int, transport: Transport) -> None:
        self.index, self.transport = index, transport

    @property
    @abstractmethod
    def public_component(self) -> int | None:
        """The component of this node that carries public constants; None if it holds none of that share."""

    def constant(self, values: Words) -> Words:
        """Shares of a public array (in either domain): the array itself in one share, zero in the others."""
        shares = np.zeros((self.components, *values.shape), values.dtype)
        if self.public_component is not None:
            shares[self.public_component] = values
        return shares

    def add_constant(self, x: Words, values: Words) -> Words:
        """x + a public array (broadcast to x), in the ring."""
        out = x.copy()
        self.shift(out, values)
        return out

    def shift(self, x: Words, values: Words) -> None:
        """x + a public array (broadcast to x), in the ring and in place: for an x that nobody else holds."""
        if self.public_component is not None:
            own = x[self.public_component : self.public_component + 1]  # a view, also of a scalar
            own += values

    def xor_constant(self, x: Words, values: Words) -> Words:
        """x XOR a public array (broadcast to x)."""
        out = x.copy()
        if self.public_component is not None:
            own = out[self.public_component : self.public_component + 1]
            own ^= values
        return out

    @abstractmethod
    def multiply_rows(self, x: Words, y: Words, rows: Indices) -> Words:
        """In the ring: out[r] = x[rows[0, r]] * y[rows[1, r]] elementwise. One round.

        x, y: (c, any, w) of one ring; rows: (2, R) -> (c, R, w).
        """

    def multiply(self, x: Words, y: Words) -> Words:
        """Elementwise product in the ring of two shared arrays of one shape. One round."""
        flat = (self.components, 1, x[0].size)
        return self.multiply_rows(x.reshape(flat), y.reshape(flat), FIRST_ROWS).reshape(x.shape)

    @abstractmethod
    def matmul(self, x: Words, y: Words) -> Words:
        """(c, n, k) times (c, k, m) -> (c, n, m) in the ring; traffic counts outputs, not terms. One round."""

    @abstractmethod
    def dot(self, x: Words, y: Words) -> Words:
        """Sum of products over the last axis: (c, ..., k), (c, ..., k) -> (c, ...). Traffic counts outputs. One round."""

    @abstractmethod
    def and_rows(
        self, x: Words, y: Words, z: Words, rows: Indices, keep: Indices = NONE, into: Words | None = None
    ) -> Words:
        """Packed bits: out[r] = x[rows[0, r]] AND (y[rows[1, r]] XOR y[rows[3, r]]) XOR z[rows[2, r]]. One round.

        x, y, z: (c, any, w) uint64; rows: (4, R), -1 in rows[2] for no z and in rows[3] for no second row of y;
        keep: (K,) rows of z that follow unchanged -> (c, R + K, w). ``into``: an array (c, R + K, w) other than x and y to
        be returned, whose last K rows are left as they are.
        """

    def and_(self, x: Words, y: Words) -> Words:
        """AND of packed bits of one shape (c, w)."""
        rows = np.array([[0], [0], [-1], [-1]], np.int64)
        return self.and_rows(x[:, None], y[:, None], x[:, None], rows)[:, 0]

    @abstractmethod
    def halves(self, x: Words, xor: bool) -> Halves:
        """Write x (c, ..., n), or packed bits (c, ..., words), as a sum of two halves, each known in full to some node.

        Which nodes know which half may change along the last axis, at multiples of 64 positions.
        """

    @abstractmethod
    def joint_input(self, inputs: Sequence[JointInput]) -> list[Words]:
        """For every input f, fresh shares of f(h0) + f(h1) (or XOR), which are its halves. All in one round."""

    @abstractmethod
    def multiply_halves(self, of: HalfProducts, into: Words | None = None) -> Words:
        """Rows (c, R, w) of the ring. One round, cheaper than `multiply_rows`. ``into``: another array (c, >= R, w) to be
        returned, whose rows after R are left as they are.
        """

    def own_product(self, x: Words, plus: Words, factor: int) -> Words:
        """plus + factor x0 x1 for the halves of x (c, n) in the ring; as `multiply_halves`."""
        alone = x[:, None]
        return self.multiply_halves(HalfProducts(alone, alone, plus[:, None], OWN_ROWS, (factor,)))[:, 0]

    @abstractmethod
    def and_halves(self, x: Words, into: Words) -> None:
        """Packed bits: into[r] = x0[r] AND x1[r] for the halves of the first ``into.shape[1]`` rows of x. One round.

        x: (c, any, w) whose last axis is as it came from `joint_input`; into: (c, R, w), each component contiguous.
        """

    @abstractmethod
    def shuffle(self, tables: Sequence[tuple[Words, bool]]) -> list[Words]:
        """Permute the rows of shared tables (c, n, w) by one permutation that no node knows; True marks XOR shares."""

    @abstractmethod
    def zeros(self, shape: tuple[int, ...], dtype: WordType, xor: bool) -> Words:
        """Fresh random shares of zero (components, *shape), drawn without any message: all shares but one are uniform
        and independent, the last makes them vanish. Every node knows all of them; nobody else does.
        """

    @abstractmethod
    def verify(self) -> None:
        """The barrier: returns only if every message so far passed the protocol's checks and every node says so.

        A protocol that trusts its nodes to follow it has nothing to check.
        """

    @abstractmethod
    def reveal(self, values: Sequence[tuple[Words, bool]]) -> list[Words]:
        """Plaintext of shared arrays, after the protocol's checks; True marks XOR shares.

        Only `mpc_backend.session.open_values` may call this.
        """
