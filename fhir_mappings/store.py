"""All or nothing: a database is built beside the old one and takes its place in one rename."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from fhir_mappings.cdm import create
from fhir_mappings.errors import LoadFailed


@contextmanager
def replacing(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a new, empty database of the model that becomes ``path`` when the block ends well.

    When the block raises, the unfinished file is removed and ``path`` keeps its bytes. A crash of the
    process leaves a hidden ``.loading`` file, which the next load removes. DuckDB's own failures become
    LoadFailed: their messages may quote data.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.loading")
    connection = create(unfinished)
    try:
        connection.begin()  # one transaction: a write-ahead log entry per statement would only cost time
        yield connection
        connection.commit()
        connection.execute("CHECKPOINT")
        connection.close()
        _sync(unfinished)
        os.replace(unfinished, path)
        _sync(path.parent)
        Path(f"{path}.wal").unlink(missing_ok=True)
    except (duckdb.ConversionException, duckdb.ConstraintException, duckdb.InvalidInputException) as error:
        raise LoadFailed(f"{path.name}: the load broke off ({type(error).__name__})") from None
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise LoadFailed(f"{path.name}: the load broke off: {str(error).splitlines()[0]}") from error
    finally:
        connection.close()
        _remove(unfinished)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(unfinished: Path) -> None:
    unfinished.unlink(missing_ok=True)
    Path(f"{unfinished}.wal").unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    for file in path.parent.glob(f".{path.name}.*.loading"):
        pid = file.name.removesuffix(".loading").rpartition(".")[2].partition("-")[0]
        if not Path(f"/proc/{pid}").exists():
            _remove(file)
