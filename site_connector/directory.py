"""A site's directory: settings, keys, pinned federation, database, mailbox, ledger. Nothing outside it is written.

::

    site.toml                       settings
    entry.json                      public keys
    keys/connector.pem              signs uploads
    keys/steward.pem                signs decisions
    keys/sealing.pem                opens what other hospitals seal to this one
    keys/linkage/                   secrets by which hospitals recognise persons, one file each
    federation.json, .sha256        the pinned federation file
    cdm.duckdb, load-report.json    the common model and the account of its load, replaced together by a load
    snapshots/                      one frozen database per uploaded study
    outbox/                         sealed uploads on their way, then deleted
    mailbox.sqlite                  to and from people
    ledger.sqlite                   what was decided and what left
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from governance.document import Slug, Words
from governance.federation import Federation, SiteEntry
from governance.keys import SigningKey
from governance.ledger import Ledger
from governance.settings import FileSettings, read_settings
from site_connector.errors import ConnectorBusy, NoData, SiteSetupError


class SiteSettings(FileSettings):
    """Every setting of a site; environment variables ``TESSERA_SITE_<NAME>`` win over site.toml."""

    model_config = SettingsConfigDict(env_prefix="TESSERA_SITE_")

    id: Annotated[Slug, Field(description="The site's name in the federation file.")]
    name: Annotated[Words, Field(description="The hospital's name, as people read it.")]
    poll_seconds: Annotated[float, Field(gt=0, description="Pause between two looks at the nodes.")] = 2.0
    dry_runs_per_round: Annotated[
        int, Field(ge=1, description="Dry runs between two looks at the nodes; investigators take turns.")
    ] = 4
    synthetic_data: Annotated[
        bool,
        Field(description="Whether the loaded data are synthetic or public, so that exact release may be."),
    ] = False


class SiteDirectory:
    """Where everything of one site lives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings_file = path / "site.toml"
        self.entry = path / "entry.json"
        self.connector_key = path / "keys" / "connector.pem"
        self.steward_key = path / "keys" / "steward.pem"
        self.sealing_key = path / "keys" / "sealing.pem"
        self.linkage_keys = path / "keys" / "linkage"
        self.federation_file = path / "federation.json"
        self.pin = path / "federation.sha256"
        self.database = path / "cdm.duckdb"
        self.load_report = path / "load-report.json"
        self.snapshots = path / "snapshots"
        self.outbox = path / "outbox"
        self.mailbox = path / "mailbox.sqlite"
        self.ledger_file = path / "ledger.sqlite"
        self.data_lock = path / "data.lock"
        self.connector_lock = path / "connector.lock"

    def settings(self) -> SiteSettings:
        """Read the settings.

        Raises:
            SiteSetupError: no site was set up here, or a setting is at fault (by name).
        """
        absent = f"{self.path}: no site here; `tessera site init {self.path} --id ID --name NAME` makes one"
        return read_settings(SiteSettings, self.settings_file, SiteSetupError, absent)

    def federation(self) -> Federation:
        """The pinned federation.

        Raises:
            SiteSetupError: none is pinned yet.
            governance.errors.FederationMismatch: the file changed since it was pinned.
        """
        self.settings()
        try:
            pinned = self.pin.read_text("ascii").strip()
        except FileNotFoundError as error:
            raise SiteSetupError(
                f"{self.path}: no federation is pinned yet; when the members agreed on the file, run "
                f"`tessera site init {self.path} --federation FILE`"
            ) from error
        return Federation.load(self.federation_file, pinned)

    def site(self) -> SiteEntry:
        """This hospital's entry in the pinned federation."""
        return self.federation().site(self.settings().id)

    def connector(self) -> SigningKey:
        """The key that signs uploads."""
        return SigningKey.load(self.connector_key)

    def steward(self, passphrase: bytes) -> SigningKey:
        """The key that signs decisions; needs the steward's passphrase."""
        return SigningKey.load(self.steward_key, passphrase)

    def ledger(self) -> Ledger:
        """The site's own log; close it after use."""
        return Ledger(self.ledger_file)

    @contextmanager
    def data_locked(self) -> Iterator[None]:
        """While database and load report are exchanged, or frozen together: the two always belong to each other."""
        with self.data_lock.open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    @contextmanager
    def connector_locked(self) -> Iterator[None]:
        """While a connector works in this directory.

        Raises:
            ConnectorBusy: another one does.
        """
        with self.connector_lock.open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConnectorBusy(f"{self.path}: a connector already serves this directory") from error
            yield

    @property
    def served(self) -> bool:
        """Whether a connector works in this directory now."""
        try:
            with self.connector_locked():
                return False
        except ConnectorBusy:
            return True

    def loaded_database(self) -> Path:
        """The common model.

        Raises:
            NoData: nothing was loaded yet.
        """
        if not self.database.is_file():
            raise NoData(f"{self.path}: no data yet; `tessera site load {self.path} --fhir|--omop|--csv ...`")
        return self.database
