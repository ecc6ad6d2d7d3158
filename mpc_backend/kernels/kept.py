"""Whether all compiled kernels are on disk already, told without loading the compiler.

`compile_all` leaves a mark beside the compiled kernels, named after what numba looks at before it uses one: times and sizes of
the sources, its own version, Python's, and the processor.
"""

from __future__ import annotations

import hashlib
import os
import sys
from importlib.metadata import version
from pathlib import Path

_SOURCES = Path(__file__).parent
_PROCESSOR = Path("/proc/cpuinfo")


def all_kept() -> bool:
    """Whether these very sources were compiled for this machine, and nobody removed the mark since."""
    return _mark().exists()


def note_all_kept() -> None:
    """Leave the mark; without it, where it cannot be written, kernels are merely checked again before each start."""
    try:
        folder = _mark().parent
        for old in folder.glob("kernels-*.whole"):
            old.unlink()
        _mark().touch()
    except OSError:
        return


def _mark() -> Path:
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(chosen) if chosen else _SOURCES / "__pycache__"
    return folder / f"kernels-{_state()}.whole"


def _state() -> str:
    stats = [(path.name, path.stat()) for path in sorted(_SOURCES.glob("*.py"))]
    parts = [f"{name} {stat.st_mtime_ns} {stat.st_size}" for name, stat in stats]
    return hashlib.sha256(
        "\n".join([*parts, version("numba"), sys.version, _processor()]).encode()
    ).hexdigest()[:16]


def _processor() -> str:
    """Model and features of the first processor; nothing where the system does not say."""
    if not _PROCESSOR.exists():
        return ""
    first = _PROCESSOR.read_text(encoding="utf-8").split("\n\n", 1)[0]
    return "\n".join(
        line for line in first.splitlines() if line.startswith(("model name", "flags", "Features"))
    )
