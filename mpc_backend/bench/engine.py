"""Benchmark lines of the engine's own operations."""

from __future__ import annotations

from typing import Any

import numpy as np

from mpc_backend import operations
from mpc_backend.bench.lines import Program, line
from mpc_backend.session import Session
from mpc_backend.testing import Shared, World

Prepared = tuple[list[Shared], Program]
Rng = np.random.Generator
MILLION = 1_000_000


def _pair(world: World, n: int, rng: Rng, bits: int) -> list[Shared]:
    half = 1 << (min(bits, 63) - 1)
    return [world.share(rng.integers(-half + 1, half, n), bits=bits) for _ in range(2)]


@line("multiply", MILLION)
def multiply(world: World, n: int, rng: Rng) -> Prepared:
    """Elementwise products in Z_2^64."""
    return _pair(world, n, rng, 64), lambda _, a, b: a * b


@line("compare64", MILLION)
def compare64(world: World, n: int, rng: Rng) -> Prepared:
    """a < b for 64-bit values."""
    return _pair(world, n, rng, 64), lambda _, a, b: a < b


@line("compare16", MILLION)
def compare16(world: World, n: int, rng: Rng) -> Prepared:
    """a < b for values of 16 bits."""
    return _pair(world, n, rng, 16), lambda _, a, b: a < b


@line("equal64", MILLION)
def equal64(world: World, n: int, rng: Rng) -> Prepared:
    """a == b for 64-bit values."""
    return _pair(world, n, rng, 64), lambda _, a, b: a == b


@line("bit_to_ring", MILLION)
def bit_to_ring(world: World, n: int, rng: Rng) -> Prepared:
    """Truth values to 0/1 in Z_2^64."""
    return [world.share(rng.random(n) < 0.5)], lambda _, a: a.to_int()


@line("truncate", MILLION)
def truncate(world: World, n: int, rng: Rng) -> Prepared:
    """Products of reals, 20 fractional bits."""
    return [world.share(rng.normal(size=n)) for _ in range(2)], lambda _, a, b: a * b


@line("shuffle", MILLION)
def shuffle(world: World, n: int, rng: Rng) -> Prepared:
    """Rows of five 64-bit words."""
    table = rng.integers(-1000, 1000, (n, 5))
    return [world.share(table)], lambda _, a: operations.shuffle([a])


@line("filter_sum", MILLION)
def filter_sum(world: World, n: int, rng: Rng) -> Prepared:
    """Three predicates (8, 16 and 16 bits), their conjunction, and the sum of a 32-bit column where it holds."""

    def program(_: Session, age: Any, day: Any, code: Any, amount: Any) -> Any:
        chosen = (age >= 50) & (day < 3650) & (code == 17)
        return (amount * chosen).sum()

    inputs = [
        world.share(rng.integers(0, 100, n), bits=8),
        world.share(rng.integers(0, 7000, n), bits=16),
        world.share(rng.integers(0, 50, n), bits=16),
        world.share(rng.integers(0, 1 << 30, n), bits=32),
    ]
    return inputs, program


@line("matmul16", 20_667)
def matmul16(world: World, n: int, rng: Rng) -> Prepared:
    """(400, n) times (n, 48) of 0/1 values in Z_2^16."""
    left = world.share(rng.integers(0, 2, (400, n)), bits=2, ring=16)
    right = world.share(rng.integers(0, 2, (n, 48)), bits=2, ring=16)
    return [left, right], lambda _, a, b: a @ b


@line("divide", 10_000)
def divide(world: World, n: int, rng: Rng) -> Prepared:
    """Quotients of 30-bit integers with 20 fractional bits."""
    inputs = [world.share(rng.integers(1, 1 << 29, n), bits=30) for _ in range(2)]
    return inputs, lambda _, a, b: operations.divide(a, b, 20)


@line("floor_divide", 10_000)
def floor_divide(world: World, n: int, rng: Rng) -> Prepared:
    """Exact quotients by a public number."""
    return [world.share(rng.integers(0, 1 << 29, n), bits=30)], lambda _, a: operations.floor_divide(a, 10)
