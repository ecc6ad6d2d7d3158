"""What all secret arrays have in common: a public shape, and no way to look inside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NoReturn, Self

import numpy as np

from mpc_backend.kernels.arrays import Words
from mpc_backend.protocols.base import Protocol

Axis = int | None
Key = Any
"""Whatever numpy accepts between square brackets, as long as it is public."""


class SecretValue(ABC):
    """A secret array: its shape is public, its elements are shares. Indexing and reshaping are free."""

    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]
    protocol: Protocol

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The public shape."""

    @abstractmethod
    def rearranged(self, change: Callable[[Words], Words]) -> Self:
        """Apply a change of position (indexing, reshaping, repeating) to one component of the shares at a time."""

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a secret scalar has no length")
        return self.shape[0]

    def __getitem__(self, key: Key) -> Self:
        return self.rearranged(lambda words: np.asarray(words[key]))

    def reshape(self, *shape: int | tuple[int, ...]) -> Self:
        """The same elements in another shape."""
        return self.rearranged(lambda words: words.reshape(plain_shape(shape)))

    def ravel(self) -> Self:
        """The same elements along one axis."""
        return self.reshape(-1)

    def broadcast_to(self, shape: tuple[int, ...]) -> Self:
        """Repeat along new or unit axes, as numpy.broadcast_to."""
        return self if shape == self.shape else self.rearranged(lambda words: np.broadcast_to(words, shape))

    def repeat(self, repeats: int, axis: int) -> Self:
        """Repeat each element along an axis, as numpy.repeat."""
        return self.rearranged(lambda words: np.repeat(words, repeats, axis))

    @property
    def T(self) -> Self:
        """Axes reversed."""
        return self.rearranged(lambda words: words.T)

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a secret has no truth value: write operations.select(condition, a, b) instead of a branch"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} shape={self.shape}>"


def plain_shape(shape: tuple[int | tuple[int, ...], ...]) -> tuple[int, ...]:
    """reshape(2, 3) and reshape((2, 3)) are the same."""
    return tuple(n for part in shape for n in (part if isinstance(part, tuple) else (part,)))


def checked_axis(ndim: int, axis: Axis) -> int | None:
    """An axis counted from the front; raises ValueError outside the array."""
    if axis is None:
        return None
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis {axis} does not exist in an array of {ndim} axes")
    return axis % ndim
