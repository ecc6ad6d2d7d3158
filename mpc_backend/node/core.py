"""Everything one node holds while it runs: its settings, federation, keys, database, log and share store."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import structlog

from governance.federation import Federation, NodeEntry
from governance.keys import SealingKey, SigningKey
from governance.ledger import Ledger
from governance.study import StudyProtocol
from mpc_backend.node.database import Database, utc_now
from mpc_backend.node.metrics import Metrics
from mpc_backend.node.settings import NodeDirectory, NodeSettings
from mpc_backend.node.software import software_digest
from mpc_backend.node.vault import Vault
from mpc_backend.transport.certificates import TrustedNodes

log = structlog.get_logger()


@dataclass(frozen=True)
class NodeCore:
    """See the module docstring; made by `open_core`."""

    directory: NodeDirectory
    settings: NodeSettings
    federation: Federation
    entry: NodeEntry
    identity: SigningKey
    sealing: SealingKey
    trusted: TrustedNodes
    database: Database
    ledger: Ledger
    vault: Vault
    software: str
    metrics: Metrics = field(default_factory=Metrics)

    @property
    def index(self) -> int:
        """This node's index."""
        return self.entry.index

    @property
    def names(self) -> tuple[str, ...]:
        """Every node's id, by index."""
        return tuple(node.id for node in self.federation.nodes)

    def record(self, event: str, **facts: Any) -> int:
        """Append to the node's log: ids and digests only. Returns the entry's position."""
        entry = {"at": utc_now().strftime("%Y-%m-%dT%H:%M:%SZ"), "event": event, **facts}
        position = self.ledger.append(entry)
        log.info(event, position=position, **facts)
        return position

    def close(self) -> None:
        """Release files."""
        self.ledger.close()
        self.database.close()


def open_core(directory: NodeDirectory, federation: Federation) -> NodeCore:
    """Load everything a node needs.

    Raises:
        NodeSetupError, governance.errors.KeyFileError, governance.errors.LedgerError: something is absent or
            damaged; names the file.
    """
    settings = directory.settings()
    directory.make_folders()
    return NodeCore(
        directory=directory,
        settings=settings,
        federation=federation,
        entry=federation.node(settings.id),
        identity=SigningKey.load(directory.identity_key),
        sealing=SealingKey.load(directory.sealing_key),
        trusted=TrustedNodes(federation),
        database=Database(directory.database),
        ledger=Ledger(directory.ledger),
        vault=Vault(directory.key_encryption_key),
        software=software_digest(),
    )


@lru_cache(maxsize=256)
def parse_study(document: bytes) -> StudyProtocol:
    """A stored study; parsed once."""
    return StudyProtocol.from_canonical(document)
