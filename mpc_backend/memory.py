"""How this process keeps memory for large arrays.

Left alone, the C library maps every large array anew and unmaps it when it is freed, and gives each thread a heap of its own.
The kernel then zeroes the same pages again and again: a third to a half of the processor time of operations on 10^6 rows.
A process that computes keeps freed memory in one heap instead, and gives it back when it has nothing to do.

GNU C library alone; with another one nothing is changed.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8
_LARGEST_INT = (1 << 31) - 1
_GROWTH = 64 << 20
_C = ctypes.CDLL(None)


def keep_freed_memory() -> bool:
    """Reuse freed memory instead of returning it to the kernel; says whether this C library can.

    To be called before anything large is imported: libraries start threads, and a heap that a thread got is kept in use.
    """
    if not hasattr(_C, "mallopt"):
        return False
    wanted = {
        _M_ARENA_MAX: 1,
        _M_MMAP_THRESHOLD: _LARGEST_INT,
        _M_TRIM_THRESHOLD: _LARGEST_INT,
        _M_TOP_PAD: _GROWTH,
    }
    return all(_C.mallopt(option, value) == 1 for option, value in wanted.items())


def take_memory(mib: int) -> None:
    """Have the kernel hand over this much memory now, and keep it free for whatever comes first.

    New pages may cost far more than used ones (a virtual machine asks its host for each): the first job should not pay.
    """
    block = b"\x01" * (mib << 20)  # written to, not only reserved
    del block


def give_back_memory() -> None:
    """Return to the kernel what is free now."""
    if hasattr(_C, "malloc_trim"):
        _C.malloc_trim(ctypes.c_size_t(0))
