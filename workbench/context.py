"""What every page shares: the settings, the database and who may sign in. One per server process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from sqlalchemy import Engine

from workbench.accounts import Accounts
from workbench.settings import SETTINGS_VARIABLE, WorkbenchSettings, settings_from_environment
from workbench.store import open_store


@dataclass(frozen=True)
class Workbench:
    """The workbench this process serves."""

    settings: WorkbenchSettings
    engine: Engine
    accounts: Accounts


def open_workbench(settings: WorkbenchSettings) -> Workbench:
    """Open the database of a workbench and what lies on it."""
    engine = open_store(settings.database)
    accounts = Accounts(
        engine,
        lifetime=timedelta(hours=settings.session_hours),
        lock_after=settings.lock_after,
        lock_for=timedelta(minutes=settings.lock_minutes),
    )
    return Workbench(settings, engine, accounts)


def workbench() -> Workbench:
    """The workbench named by the environment; opened once."""
    return _opened(os.environ.get(SETTINGS_VARIABLE, ""))


@lru_cache(maxsize=4)
def _opened(_settings_file: str) -> Workbench:
    return open_workbench(settings_from_environment())
