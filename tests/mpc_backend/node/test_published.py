"""A kept table does not outlive the shares it was made of."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from mpc_backend.analyses.base import Released
from mpc_backend.node.errors import VaultError
from mpc_backend.node.published import PublishedTable
from mpc_backend.tables import Column, TableSpec


def test_shares_destroyed_while_their_table_is_written_take_it_with_them(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("incoming", "published", "earlier")}
    for folder in folders.values():
        folder.mkdir()
    core = MagicMock(index=0, software="x", directory=SimpleNamespace(**folders))
    study = SimpleNamespace(digest="a" * 64, protocol="rep4")
    request = SimpleNamespace(analysis="ranking", parameters={})
    column = Column(name="answer", kind="int", bits=8)
    spec = TableSpec(name="answers", level="aggregate", columns=(column,), rows=1)
    policy = MagicMock()
    uploads = {"north": SimpleNamespace(manifest_digest="b" * 64)}
    table = PublishedTable(core, study, request, uploads, Released(policy, ("north",)), spec)  # type: ignore[arg-type]
    session = MagicMock()
    session.export_shares.return_value = {"answer": (None, {0: b"share", 1: b"share", 2: b"share"})}

    core.vault.existing_key.side_effect = [b"k" * 32, b"k" * 32]
    table.keep(session, {})
    assert len(list((tmp_path / "published").iterdir())) == 1

    core.vault.existing_key.side_effect = [b"k" * 32, VaultError("the key of north was destroyed")]
    with pytest.raises(VaultError, match="destroyed"):
        table.keep(session, {})
    assert list((tmp_path / "published").iterdir()) == []
