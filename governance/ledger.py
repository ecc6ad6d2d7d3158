"""The append-only log every node and site keeps: a table in SQLite, a Merkle tree over it, signed checkpoints.

Entries are canonical JSON and hold digests and ids, never data. Triggers refuse changes and deletions;
whoever edits the file around them is found out, because others hold checkpoints that the edited log no longer
extends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from sqlite3 import Connection as FileConnection
from threading import RLock
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from governance.canonical import canonical_json, parse_canonical
from governance.document import Digest, Document, UtcTime, Words
from governance.envelope import Envelope, add_signature, open_document, sign_document
from governance.errors import LedgerError
from governance.keys import SigningKey
from governance.merkle import MerkleTree, leaf_hash, verify_consistency

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS entries (position INTEGER PRIMARY KEY CHECK (position >= 0), body BLOB NOT NULL)",
    "CREATE TRIGGER IF NOT EXISTS entries_never_change BEFORE UPDATE ON entries "
    "BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END",
    "CREATE TRIGGER IF NOT EXISTS entries_never_go BEFORE DELETE ON entries "
    "BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END",
)


class Checkpoint(Document):
    """A log's state, signed by its keeper and cosigned by those who saw that it only grew."""

    payload_type: ClassVar[str] = "application/vnd.tessera.checkpoint+json"

    origin: Words
    size: Annotated[int, Field(ge=0)]
    root: Digest
    at: UtcTime


class Ledger:
    """One log file; safe for several threads and for several processes that append to the same file."""

    def __init__(self, path: Path) -> None:
        """Open or create.

        Raises:
            LedgerError: no such database, damaged, or entries are missing.
        """
        self._path = path
        self._lock = RLock()
        self._tree = MerkleTree()
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
        event.listen(self._engine, "connect", _durable)
        event.listen(self._engine, "begin", _write_lock)
        with self._transaction() as connection:
            for statement in _SCHEMA:
                connection.execute(text(statement))
            self._catch_up(connection)

    def append(self, entry: dict[str, Any]) -> int:
        """Add one entry and return its position; it is on disk when this returns.

        Raises:
            LedgerError: the file cannot be written.
            DocumentError: the entry is no JSON.
        """
        body = canonical_json(entry)
        with self._lock:
            with self._transaction() as connection:
                self._catch_up(connection)
                position = len(self._tree)
                connection.execute(
                    text("INSERT INTO entries (position, body) VALUES (:position, :body)"),
                    {"position": position, "body": body},
                )
            self._tree.append(leaf_hash(body))
        return position

    @property
    def size(self) -> int:
        """Number of entries."""
        self._refresh()
        return len(self._tree)

    def root(self, size: int | None = None) -> str:
        """Root hash over the first ``size`` entries (default all), in hexadecimal."""
        self._refresh()
        return self._tree.root(size).hex()

    def entries(self, start: int = 0, stop: int | None = None) -> list[dict[str, Any]]:
        """Entries ``start`` to ``stop`` (not included), parsed."""
        with self._transaction() as connection:
            rows = connection.execute(
                text(
                    "SELECT body FROM entries WHERE position >= :start AND position < :stop ORDER BY position"
                ),
                {"start": start, "stop": 2**62 if stop is None else stop},
            )
            return [parse_canonical(bytes(row.body)) for row in rows]

    def inclusion_proof(self, position: int, size: int | None = None) -> list[str]:
        """Hashes that prove an entry is in the log of ``size`` entries (default all), in hexadecimal."""
        self._refresh()
        return [step.hex() for step in self._tree.inclusion_proof(position, size)]

    def consistency_proof(self, old_size: int, size: int | None = None) -> list[str]:
        """Hashes that prove the log only grew since it had ``old_size`` entries, in hexadecimal."""
        self._refresh()
        return [step.hex() for step in self._tree.consistency_proof(old_size, size)]

    def checkpoint(self, origin: str, at: datetime, key: SigningKey) -> Envelope:
        """The present state, signed by the log's keeper."""
        with self._lock:
            self._refresh()
            state = Checkpoint(origin=origin, size=len(self._tree), root=self._tree.root().hex(), at=at)
        return sign_document(state, key)

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refresh(self) -> None:
        with self._transaction() as connection:
            self._catch_up(connection)

    def _catch_up(self, connection: Connection) -> None:
        """Take in entries that were added since we last looked, by us or by another process."""
        rows = connection.execute(
            text("SELECT position, body FROM entries WHERE position >= :known ORDER BY position"),
            {"known": len(self._tree)},
        )
        for row in rows:
            if row.position != len(self._tree):
                raise LedgerError(f"{self._path}: entry {len(self._tree)} is missing; the log is damaged")
            self._tree.append(leaf_hash(bytes(row.body)))

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._lock, self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise LedgerError(
                f"{self._path}: {getattr(error, 'orig', None) or type(error).__name__}"
            ) from error


def cosign(
    checkpoint: Envelope, keeper: str, seen: Checkpoint | None, proof: Sequence[str], key: SigningKey
) -> Envelope:
    """Add a witness's signature, after checking that the log extends what the witness saw last.

    Raises:
        SignatureError: the checkpoint is not signed by its keeper.
        LedgerError: the log shrank or was rewritten since ``seen``.
    """
    now = open_document(checkpoint, Checkpoint, by=keeper)
    if seen is not None:
        if seen.origin != now.origin:
            raise LedgerError(f"expected a checkpoint of {seen.origin}, found one of {now.origin}")
        steps = [bytes.fromhex(step) for step in proof]
        verify_consistency(seen.size, bytes.fromhex(seen.root), now.size, bytes.fromhex(now.root), steps)
    return add_signature(checkpoint, key)


def _durable(connection: FileConnection, _record: object) -> None:
    """Let SQLAlchemy's own begin decide the kind of transaction, and put every commit on disk."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _write_lock(connection: Connection) -> None:
    """Take the write lock at once, so that two processes cannot both believe a position is free."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
