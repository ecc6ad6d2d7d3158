"""Operations on secret values beyond operators; each for every protocol."""

from mpc_backend.operations.arrange import concatenate, select, shuffle, stack
from mpc_backend.operations.categories import sums_by_code
from mpc_backend.operations.divide import divide, floor_divide, reciprocal
from mpc_backend.operations.groupby import Groups, distinct, group_by
from mpc_backend.operations.join import join
from mpc_backend.operations.reduce import dot, maximum, minimum, prefix_product
from mpc_backend.operations.roots import log, sqrt
from mpc_backend.operations.scan import segmented_copy, segmented_cumsum
from mpc_backend.operations.sort import sort

__all__ = [
    "Groups",
    "concatenate",
    "distinct",
    "divide",
    "dot",
    "floor_divide",
    "group_by",
    "join",
    "log",
    "maximum",
    "minimum",
    "prefix_product",
    "reciprocal",
    "segmented_copy",
    "segmented_cumsum",
    "select",
    "shuffle",
    "sort",
    "sqrt",
    "stack",
    "sums_by_code",
]
