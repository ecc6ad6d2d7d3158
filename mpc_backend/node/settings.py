"""A node's directory and its settings: ``node.toml``, overridden by environment variables ``TESSERA_NODE_<NAME>``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from governance.document import Slug, Words
from governance.settings import FileSettings, read_settings
from mpc_backend.node.errors import NodeSetupError
from mpc_backend.shards import MOST_WORKERS
from mpc_backend.transport.shape import LinkShape

MIB = 1024 * 1024


def _readable(link: str) -> str:
    if link:
        LinkShape.parse(link)
    return link


class NodeSettings(FileSettings):
    """Every setting of a node; docs/node.md lists them all."""

    model_config = SettingsConfigDict(env_prefix="TESSERA_NODE_")

    id: Annotated[Slug, Field(description="The node's name in the federation file.")]
    organisation: Annotated[Words, Field(description="Who operates the node.")]
    control_url: Annotated[
        str, Field(description="Where clients reach the control interface, https://host:port.")
    ]
    data_address: Annotated[str, Field(description="Where the other nodes reach this one, host:port.")]
    control_listen: Annotated[str, Field(description="Address the control interface binds, host:port.")]
    data_listen: Annotated[str, Field(description="Address the data listener binds, host:port.")]
    largest_upload_mib: Annotated[
        int, Field(ge=1, le=65_536, description="Largest upload a site may send, in MiB.")
    ] = 256
    undecided_per_investigator: Annotated[
        int,
        Field(
            ge=1,
            le=10_000,
            description="How many studies of one investigator may wait for hospitals to decide on them.",
        ),
    ] = 20
    message_seconds: Annotated[
        float,
        Field(gt=0, description="How long a job waits for a peer's next message before it is given up."),
    ] = 60.0
    greeting_seconds: Annotated[
        float, Field(gt=0, description="How long the nodes of a job may take to connect once it starts.")
    ] = 20.0
    retry_seconds: Annotated[
        float,
        Field(gt=0, description="How often the first node asks its peers whether a waiting run can start."),
    ] = 0.5
    stop_seconds: Annotated[
        float, Field(ge=0, description="How long a running job may go on after a stop was asked for.")
    ] = 10.0
    housekeeping_seconds: Annotated[
        float,
        Field(
            gt=0, description="How often expired studies and runs that wait in vain are looked for and ended."
        ),
    ] = 60.0
    waiting_seconds: Annotated[
        float,
        Field(gt=0, description="How long a run may wait for uploads or other nodes before it is refused."),
    ] = 86_400.0
    workers: Annotated[
        int,
        Field(
            ge=1,
            le=MOST_WORKERS,
            description="Processes that work on row shards side by side; a run uses the smallest number of its nodes.",
        ),
    ] = 1
    link: Annotated[
        str,
        AfterValidator(_readable),
        Field(description="Slow down what this node sends, for measurements, like 20ms,200Mbit."),
    ] = ""
    witness_seconds: Annotated[
        float, Field(gt=0, description="How often this node asks the others to cosign its log.")
    ] = 30.0

    @property
    def link_shape(self) -> LinkShape | None:
        """How slow the links of this node are made; None: as fast as they are."""
        return LinkShape.parse(self.link) if self.link else None


class NodeDirectory:
    """Where everything of one node lives; nothing outside it is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings_file = path / "node.toml"
        self.identity_key = path / "keys" / "identity.pem"
        self.sealing_key = path / "keys" / "sealing.pem"
        self.tls_key = path / "keys" / "tls.key"
        self.tls_certificate = path / "keys" / "tls.crt"
        self.key_encryption_key = path / "keys" / "kek"
        self.entry = path / "entry.json"
        self.federation = path / "federation.json"
        self.pin = path / "federation.sha256"
        self.database = path / "node.sqlite"
        self.ledger = path / "ledger.sqlite"
        self.incoming = path / "incoming"
        self.shares = path / "shares"
        self.queries = path / "queries"
        self.results = path / "results"
        self.published = path / "published"
        self.earlier = path / "earlier"
        self.lock = path / "lock"

    def settings(self) -> NodeSettings:
        """Read the settings.

        Raises:
            NodeSetupError: no node was set up here, or a setting is at fault (by name).
        """
        absent = f"{self.path}: no node here; `tessera node init {self.path} ...` makes one"
        return read_settings(NodeSettings, self.settings_file, NodeSetupError, absent)

    def make_folders(self) -> None:
        """Create what a running node writes to, readable by its owner alone."""
        for folder in (self.incoming, self.shares, self.queries, self.results, self.published, self.earlier):
            folder.mkdir(mode=0o700, exist_ok=True)
