"""Telling the processor which memory a kernel will read soon, so that random reads do not wait for each other."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

AHEAD = 24
"""How many rows before their turn rows are asked for."""


def _prefetch(_: Any, array: Any, position: Any) -> tuple[Any, Any]:
    """Type and code of `prefetch`: LLVM's instruction, for reading, with moderate locality."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")  # type: ignore[no-untyped-call]
        place = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        builder.call(function, [place, number(0), number(2), number(1)])
        return context.get_dummy_value()

    return types.void(array, position), code


prefetch: Any = intrinsic(_prefetch)
"""prefetch(array, position): the element of a contiguous array (n,) will be read soon. For kernels alone."""
