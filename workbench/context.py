"""What every page shares: the settings, the database and who may sign in. One per server process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from governance.federation import Federation
from workbench.accounts import Accounts, SignIn, accounts_of
from workbench.drafts import Drafts
from workbench.identities import Identity, load_identity
from workbench.jobs import Jobs
from workbench.network import Look, Network, pinned_federation
from workbench.settings import SETTINGS_VARIABLE, WorkbenchSettings, settings_from_environment
from workbench.store import open_store

if TYPE_CHECKING:
    from workbench.client import Client


@dataclass(frozen=True)
class Workbench:
    """The workbench this process serves."""

    settings: WorkbenchSettings
    engine: Engine
    accounts: Accounts
    drafts: Drafts
    jobs: Jobs
    network: Network

    @property
    def federation(self) -> Federation:
        """The agreed federation file."""
        return self.network.federation

    def identity(self, person: SignIn) -> Identity:
        """The keys of a signed-in person."""
        return load_identity(self.settings.identities / person.account)

    def client(self, person: SignIn) -> Client:
        """A client that acts with a signed-in person's keys."""
        from workbench.client import Client  # noqa: PLC0415  (brings the engine, which takes seconds)

        return Client(self.federation, self.identity(person))

    def my_key(self, person: SignIn) -> str:
        """The person's verification key, by which studies name them."""
        return self.identity(person).signing.public


def open_workbench(settings: WorkbenchSettings) -> Workbench:
    """Open the database of a workbench and what lies on it."""
    engine = open_store(settings.database)
    federation = pinned_federation(settings)
    network = Network(federation, _asker)
    jobs = Jobs(engine, keep=timedelta(hours=settings.session_hours))
    return Workbench(settings, engine, accounts_of(engine, settings), Drafts(engine), jobs, network)


def _asker(federation: Federation) -> Look:
    from workbench.asking import Asker  # noqa: PLC0415  (brings the engine, which takes seconds)

    return Asker(federation)


def workbench() -> Workbench:
    """The workbench named by the environment; opened once."""
    return _opened(os.environ.get(SETTINGS_VARIABLE, ""))


@lru_cache(maxsize=4)
def _opened(_settings_file: str) -> Workbench:
    return open_workbench(settings_from_environment())
