"""Writing files so that nobody ever meets half of one, or one that others could read for a moment."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_new(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Create a file that must not exist, with its mode from the first moment on; it is on disk on return.

    Raises:
        FileExistsError: it exists.
        OSError: its folder cannot be written.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """Write a file in one step: readers see the old bytes or the new ones."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}", delete=False) as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(stream.name, path)


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``path`` (absent or empty) once it is filled, or is removed on any error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield scratch
        if path.exists():
            path.rmdir()
        scratch.rename(path)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def is_filled(path: Path) -> bool:
    """Whether something is at ``path`` that `new_directory` must not take the place of."""
    return path.exists() and (not path.is_dir() or any(path.iterdir()))
