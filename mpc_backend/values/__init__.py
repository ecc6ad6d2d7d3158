"""Secret arrays with operators like numpy's. See docs/engine.md for ranges and error bounds."""

from mpc_backend.values.base import SecretValue
from mpc_backend.values.bits import SecretBits
from mpc_backend.values.fixed import SecretFixed
from mpc_backend.values.ints import SecretInt

__all__ = ["SecretBits", "SecretFixed", "SecretInt", "SecretValue"]
