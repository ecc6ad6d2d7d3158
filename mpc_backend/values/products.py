"""Products of secret numbers in one ring, before any rescaling."""

from __future__ import annotations

import numpy as np

from mpc_backend.kernels.arrays import Words
from mpc_backend.kernels.matrices import matrix_product
from mpc_backend.values.numbers import SecretNumber
from mpc_backend.values.public import Public


def multiplied(left: SecretNumber, right: SecretNumber | Public) -> Words:
    """Elementwise product, broadcast -> shares."""
    shape = np.broadcast_shapes(left.shape, right.shape)
    if isinstance(right, Public):
        return left.shares.reshape(
            len(left.shares), *(1,) * (len(shape) - left.ndim), *left.shape
        ) * right.words(left.dtype)
    x, y = left.broadcast_to(shape), right.broadcast_to(shape)
    return left.protocol.multiply(x.flat, y.flat).reshape(len(left.shares), *shape)


def matrix_multiplied(left: SecretNumber, right: SecretNumber | Public) -> Words:
    """left @ right for one or two axes each -> shares."""
    if not (1 <= left.ndim <= 2 and 1 <= len(right.shape) <= 2):
        raise ValueError(f"@ takes arrays of one or two axes, found shapes {left.shape} and {right.shape}")
    if left.shape[-1] != right.shape[0]:
        raise ValueError(f"@ of shapes {left.shape} and {right.shape}: inner lengths differ")
    x = left.shares if left.ndim == 2 else left.shares[:, None, :]
    if isinstance(right, Public):
        words = right.words(left.dtype)
        public = words if words.ndim == 2 else words[:, None]
        product = np.stack([matrix_product(component, public.T) for component in x])
    else:
        y = right.shares if right.ndim == 2 else right.shares[:, :, None]
        product = left.protocol.matmul(x, y)
    return product.reshape(len(product), *left.shape[:-1], *right.shape[1:])


def dotted(left: SecretNumber, right: SecretNumber) -> Words:
    """Sum of products over the last axis, broadcast over the others -> shares."""
    shape = np.broadcast_shapes(left.shape, right.shape)
    if shape[-1] == 0:
        return np.zeros((len(left.shares), *shape[:-1]), left.dtype)
    return left.protocol.dot(left.broadcast_to(shape).shares, right.broadcast_to(shape).shares)
