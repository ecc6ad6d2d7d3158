"""Operations on secret values beyond operators; each for every protocol."""

from mpc_backend.operations.arrange import concatenate, select, shuffle, stack
from mpc_backend.operations.divide import divide, floor_divide, reciprocal
from mpc_backend.operations.reduce import dot, maximum, minimum, prefix_product
from mpc_backend.operations.roots import log, sqrt
from mpc_backend.operations.sort import sort

__all__ = [
    "concatenate",
    "divide",
    "dot",
    "floor_divide",
    "log",
    "maximum",
    "minimum",
    "prefix_product",
    "reciprocal",
    "select",
    "shuffle",
    "sort",
    "sqrt",
    "stack",
]
