"""The served workbench as a process: whose address a failed sign-in is counted for, and who may read what it writes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mpc_backend.node.local import free_addresses
from workbench.demo.layout import Layout, set_up
from workbench.demo.processes import Processes
from workbench.errors import SettingsError
from workbench.settings import WorkbenchSettings, load_settings, write_settings
from workbench.store import FailureRow, open_store

BROWSER = "203.0.113.7"


@pytest.fixture
def readable_by_others() -> Iterator[None]:
    """Processes start as from a shell whose files others may read."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.processes
@pytest.mark.usefixtures("readable_by_others")
def test_forwarded_addresses_are_believed_from_the_proxy_alone(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "root")
    set_up(layout)
    counted = {}
    with Processes(layout.logs) as processes:
        served = {proxy: _started(processes, layout, proxy) for proxy in ("", "127.0.0.1", "192.0.2.1")}
        for proxy, settings in served.items():
            url = f"http://127.0.0.1:{settings.port}"
            processes.await_page(f"workbench-{proxy}", f"{url}/sign-in")
            with httpx.Client(trust_env=False, timeout=30) as client:
                form = {"name": "nobody", "password": "wrong"}
                # The browser may claim what it likes; the proxy's own word comes last.
                headers = {"X-Forwarded-For": f"198.51.100.1, {BROWSER}"}
                assert client.post(f"{url}/sign-in", data=form, headers=headers).status_code == 403
            with Session(open_store(settings.database)) as session:
                subjects = session.scalars(select(FailureRow.subject)).all()
            files = [file for file in settings.state_dir.rglob("*") if file.is_file()]
            assert "serving.toml" in {file.name for file in files}
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
            counted[proxy] = [one for one in subjects if one.startswith("address:")]
    assert counted == {
        "": ["address:127.0.0.1"],
        "127.0.0.1": [f"address:{BROWSER}"],
        "192.0.2.1": ["address:127.0.0.1"],
    }


def _started(processes: Processes, layout: Layout, proxy: str) -> WorkbenchSettings:
    settings = WorkbenchSettings(
        state_dir=layout.root / f"state-{proxy}",
        federation=layout.federation_file,
        port=int(free_addresses(1)[0].rpartition(":")[2]),
        trusted_proxy=proxy,
    )
    file = layout.root / f"settings-{proxy}.toml"
    write_settings(file, settings)
    processes.start(f"workbench-{proxy}", ["workbench", "--settings", str(file)])
    return settings


def test_a_trusted_proxy_is_one_address(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('trusted_proxy = "*"\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="IP address of one proxy"):
        load_settings(file)
