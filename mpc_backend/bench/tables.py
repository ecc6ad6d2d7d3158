"""Benchmark lines of what is done to whole tables: sorting, grouping, joining.

What moves rows works on the whole table at once; sums by a public code are sums over row shards.
"""

from __future__ import annotations

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
WIDEST = 1 << 62


@line("sort20", MILLION, varies=True)
def sort20(world: World, n: int, rng: Rng) -> Prepared:
    """Keys of 20 bits and one payload column."""
    inputs = [
        world.share(rng.integers(-(1 << 19), 1 << 19, n), bits=20),
        world.share(rng.integers(0, 1000, n)),
    ]
    return inputs, lambda _, key, payload: operations.sort([key], [key, payload])


@line("sort16", 100_000)
def sort16(world: World, n: int, rng: Rng) -> Prepared:
    """The same by radix, keys of 16 bits."""
    inputs = [
        world.share(rng.integers(-(1 << 15), 1 << 15, n), bits=16),
        world.share(rng.integers(0, 1000, n)),
    ]
    return inputs, lambda _, key, payload: operations.sort([key], [key, payload], method="radix")


@line("sort64", 300_000, varies=True)
def sort64(world: World, n: int, rng: Rng) -> Prepared:
    """Keys of 64 bits and one payload column."""
    inputs = [world.share(rng.integers(1 - WIDEST, WIDEST, n)), world.share(rng.integers(0, 1000, n))]
    return inputs, lambda _, key, payload: operations.sort([key], [key, payload])


def _sums_by_code(_: Session, code: Any, amount: Any) -> list[Total]:
    return [Total(total) for total in operations.sums_by_code(code, 16, [amount])[1]]


@line("groupby_public", MILLION, shards=True)
def groupby_public(world: World, n: int, rng: Rng) -> Prepared:
    """Counts and sums of one column by a secret code with 16 public values."""
    inputs = [
        world.share(rng.integers(0, 16, n), bits=8, ring=16),
        world.share(rng.integers(0, 1000, n), bits=32),
    ]
    return inputs, lambda session, code, amount: over_shards(session, _sums_by_code, [code, amount])


@line("groupby_secret", 300_000, varies=True)
def groupby_secret(world: World, n: int, rng: Rng) -> Prepared:
    """Counts and sums of one column by secret keys of 64 bits, about four rows to a key."""
    pool = rng.integers(1 - WIDEST, WIDEST, max(1, n // 4))
    inputs = [world.share(rng.choice(pool, n)), world.share(rng.integers(0, 1000, n), bits=32)]
    return inputs, lambda _, key, amount: operations.group_by([key], [amount]).sums


@line("join", 100_000, varies=True)
def join(world: World, n: int, rng: Rng) -> Prepared:
    """n rows with n rows of unique keys of 64 bits, half of which match; one column is fetched."""
    left = rng.integers(1 - WIDEST, WIDEST, n)
    right = np.where(rng.random(n) < 0.5, left, rng.integers(1 - WIDEST, WIDEST, n))
    inputs = [
        world.share(rng.permutation(left)),
        world.share(right),
        world.share(rng.integers(0, 1000, n), bits=32),
    ]
    return inputs, lambda _, a, b, v: operations.join([a], [b], [v])[1]
