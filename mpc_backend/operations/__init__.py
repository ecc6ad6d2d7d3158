"""Operations on secret values beyond operators; each for every protocol."""

from mpc_backend.operations.arrange import concatenate, select, shuffle, stack
from mpc_backend.operations.binary import from_bits, to_bits
from mpc_backend.operations.categories import sums_by_code
from mpc_backend.operations.divide import divide, floor_divide, ratio_of_counts, reciprocal
from mpc_backend.operations.exponential import exp, sigmoid, sigmoid_and_softplus
from mpc_backend.operations.extremes import amax, amin, argmax, argmin
from mpc_backend.operations.groupby import Groups, distinct, group_by
from mpc_backend.operations.join import join
from mpc_backend.operations.linear import PositiveInverse, ScaledInverse, damped_inverse, positive_inverse
from mpc_backend.operations.popcount import popcount
from mpc_backend.operations.reduce import dot, maximum, minimum, prefix_product
from mpc_backend.operations.roots import log, sqrt
from mpc_backend.operations.scan import segmented_copy, segmented_cumsum
from mpc_backend.operations.sort import sort

__all__ = [
    "Groups",
    "PositiveInverse",
    "ScaledInverse",
    "amax",
    "amin",
    "argmax",
    "argmin",
    "concatenate",
    "damped_inverse",
    "distinct",
    "divide",
    "dot",
    "exp",
    "floor_divide",
    "from_bits",
    "group_by",
    "join",
    "log",
    "maximum",
    "minimum",
    "popcount",
    "positive_inverse",
    "prefix_product",
    "ratio_of_counts",
    "reciprocal",
    "segmented_copy",
    "segmented_cumsum",
    "select",
    "shuffle",
    "sigmoid",
    "sigmoid_and_softplus",
    "sort",
    "sqrt",
    "stack",
    "sums_by_code",
    "to_bits",
]
