"""Running combinations within segments of rows that start at secret places."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

from mpc_backend.kernels.arrays import Words
from mpc_backend.protocols.base import Protocol
from mpc_backend.values import SecretBits, SecretInt
from mpc_backend.values.numbers import SecretNumber, sum_bits

N = TypeVar("N", bound=SecretNumber)


def segmented_cumsum(values: N, continues: SecretBits | SecretInt) -> N:
    """Running sums of values (n,) or (n, k) that start anew at every row which does not continue the one before.

    Brent and Kung, IEEE Trans. Computers C-31, 1982, on pairs (Blelloch, CMU-CS-90-190): 2 log2 n rounds and about 2 n
    products a column, 1 n for the flags. Four nodes send 24 bytes a value and 24 a row at 64 bits. Flags that are needed
    again may be given as 0 and 1 in the values' ring, which saves bringing them there.

    Raises:
        ValueError: other lengths, or not one flag a row.
    """
    n = values.shape[0]
    if continues.shape != (n,):
        raise ValueError(f"{n} rows need as many flags in one axis, found shape {continues.shape}")
    protocol = values.protocol
    ready = (
        continues.to_int(values.ring) if isinstance(continues, SecretBits) else continues.widened(values.ring)
    )
    flags = ready.shares[:, :, None]
    columns = values.shares.reshape(len(values.shares), n, max(1, math.prod(values.shape[1:])))
    scanned = _scanned(protocol, columns, flags)
    return values.like(scanned.reshape(values.shares.shape), sum_bits(values.bits, n))


def _scanned(protocol: Protocol, values: Words, flags: Words) -> Words:
    """Inclusive scan of (c, n, k) by flags (c, n, 1): pairs of rows joined, the half-sized scan, and what lies between."""
    n = values.shape[1]
    if n <= 1:
        return values
    above, continued = _paired(protocol, values, flags)
    half = _scanned(protocol, above, continued)
    del above, continued
    out = values.copy()
    out[:, 1 : n // 2 * 2 : 2] = half
    between = out[:, 2::2]
    between += _times(protocol, half[:, : between.shape[1]], flags[:, 2::2])
    return out


def _paired(protocol: Protocol, values: Words, flags: Words) -> tuple[Words, Words]:
    """Every second row with the one before it: their values combined, and whether both continue what is before them."""
    low, high = slice(0, values.shape[1] // 2 * 2, 2), slice(1, values.shape[1] // 2 * 2, 2)
    joined = _times(protocol, np.concatenate((values[:, low], flags[:, low]), axis=2), flags[:, high])
    return values[:, high] + joined[:, :, :-1], joined[:, :, -1:].copy()


def _times(protocol: Protocol, values: Words, flags: Words) -> Words:
    """values (c, m, k) times flags (c, m, 1)."""
    return protocol.multiply(values, np.ascontiguousarray(np.broadcast_to(flags, values.shape)))


def segmented_copy(values: N, continues: SecretBits) -> N:
    """Each row gets the value of the first row of its segment.

    A scan of what stands at first rows (Brent and Kung 1982): rounds and bytes as `segmented_cumsum`, and one product.
    """
    shape = (len(values), *(1,) * (values.ndim - 1))
    starts = ~(continues & (np.arange(len(values)) > 0))
    first: N = values * starts.reshape(shape)
    return segmented_cumsum(first, continues).with_bits(values.bits)
