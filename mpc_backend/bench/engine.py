"""Benchmark lines of the engine's own operations. Those that treat every row alike are worked on in row shards."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mpc_backend import operations
from mpc_backend.bench.lines import Program, line
from mpc_backend.session import Session
from mpc_backend.shards import Total, over_shards
from mpc_backend.testing import Shared, World

Prepared = tuple[list[Shared], Program]
Rng = np.random.Generator
MILLION = 1_000_000


def _pair(world: World, n: int, rng: Rng, bits: int) -> list[Shared]:
    half = 1 << (min(bits, 63) - 1)
    return [world.share(rng.integers(-half + 1, half, n), bits=bits) for _ in range(2)]


def _by_rows(function: Callable[..., Any]) -> Program:
    """A function of rows alone, over row shards."""
    return lambda session, *rows: over_shards(session, partial(_without_session, function), rows)


def _without_session(function: Callable[..., Any], _: Session, *rows: Any) -> Any:
    return function(*rows)


@line("multiply", MILLION, shards=True)
def multiply(world: World, n: int, rng: Rng) -> Prepared:
    """Elementwise products in Z_2^64."""
    return _pair(world, n, rng, 64), _by_rows(operator.mul)


@line("compare64", MILLION, shards=True)
def compare64(world: World, n: int, rng: Rng) -> Prepared:
    """a < b for 64-bit values."""
    return _pair(world, n, rng, 64), _by_rows(operator.lt)


@line("compare16", MILLION, shards=True)
def compare16(world: World, n: int, rng: Rng) -> Prepared:
    """a < b for values of 16 bits."""
    return _pair(world, n, rng, 16), _by_rows(operator.lt)


@line("equal64", MILLION, shards=True)
def equal64(world: World, n: int, rng: Rng) -> Prepared:
    """a == b for 64-bit values."""
    return _pair(world, n, rng, 64), _by_rows(operator.eq)


@line("bit_to_ring", MILLION, shards=True)
def bit_to_ring(world: World, n: int, rng: Rng) -> Prepared:
    """Truth values to 0/1 in Z_2^64."""
    return [world.share(rng.random(n) < 0.5)], _by_rows(operator.methodcaller("to_int"))


@line("truncate", MILLION, shards=True)
def truncate(world: World, n: int, rng: Rng) -> Prepared:
    """Products of reals, 20 fractional bits."""
    return [world.share(rng.normal(size=n)) for _ in range(2)], _by_rows(operator.mul)


@line("shuffle", MILLION)
def shuffle(world: World, n: int, rng: Rng) -> Prepared:
    """Rows of five 64-bit words."""
    table = rng.integers(-1000, 1000, (n, 5))
    return [world.share(table)], lambda _, a: operations.shuffle([a])


def _filtered_sum(age: Any, day: Any, code: Any, amount: Any) -> Total:
    chosen = (age >= 50) & (day < 3650) & (code == 17)
    return Total((amount * chosen).sum())


@line("filter_sum", MILLION, shards=True)
def filter_sum(world: World, n: int, rng: Rng) -> Prepared:
    """Three predicates (8, 16 and 16 bits), their conjunction, and the sum of a 32-bit column where it holds."""
    inputs = [
        world.share(rng.integers(0, 100, n), bits=8),
        world.share(rng.integers(0, 7000, n), bits=16),
        world.share(rng.integers(0, 50, n), bits=16),
        world.share(rng.integers(0, 1 << 30, n), bits=32),
    ]
    return inputs, _by_rows(_filtered_sum)


@line("matmul16", 20_667)
def matmul16(world: World, n: int, rng: Rng) -> Prepared:
    """(400, n) times (n, 48) of 0/1 values in Z_2^16."""
    left = world.share(rng.integers(0, 2, (400, n)), bits=2, ring=16)
    right = world.share(rng.integers(0, 2, (n, 48)), bits=2, ring=16)
    return [left, right], lambda _, a, b: a @ b


@line("divide", 10_000, shards=True)
def divide(world: World, n: int, rng: Rng) -> Prepared:
    """Quotients of 30-bit integers with 20 fractional bits."""
    inputs = [world.share(rng.integers(1, 1 << 29, n), bits=30) for _ in range(2)]
    return inputs, _by_rows(partial(operations.divide, scale=20))


@line("floor_divide", 10_000, shards=True)
def floor_divide(world: World, n: int, rng: Rng) -> Prepared:
    """Exact quotients by a public number."""
    inputs = [world.share(rng.integers(0, 1 << 29, n), bits=30)]
    return inputs, _by_rows(partial(operations.floor_divide, divisor=10))
