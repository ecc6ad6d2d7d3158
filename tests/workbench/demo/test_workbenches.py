"""The demonstration's workbenches as processes: passwords and passphrases cross the loopback in TLS alone."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from workbench.demo.certificates import make_certificate
from workbench.demo.layout import Layout, set_up
from workbench.demo.processes import Processes, only
from workbench.demo.workbenches import Workbenches


def _get(url: str, trust: ssl.SSLContext | bool = True) -> httpx.Response:
    with httpx.Client(verify=trust, timeout=20, trust_env=False) as client:
        return client.get(url)


@pytest.mark.processes
def test_both_workbenches_speak_tls_with_their_own_certificate(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "root")
    set_up(layout)
    with Processes(layout.logs) as processes:
        workbenches = Workbenches(cast("Any", SimpleNamespace(layout=layout, processes=processes)))
        workbenches.start()
        urls = {account.workbench: account.url for account in workbenches.accounts}
        assert set(urls) == {"research", "hospital"}
        for kind, url in urls.items():
            own = workbenches.certificates[kind]
            assert _get(f"{url}/sign-in", only(own)).status_code == 200
            assert stat.S_IMODE((own.parent / "tls.key").stat().st_mode) == 0o600
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                _get(url, ssl.create_default_context())
            with pytest.raises(httpx.HTTPError):
                _get(url.replace("https", "http"))
        account = workbenches.accounts[0]
        with httpx.Client(verify=only(workbenches.certificates["research"]), trust_env=False) as client:
            form = {"name": account.name, "password": account.password}
            cookie = client.post(f"{account.url}/sign-in", data=form).headers["set-cookie"]
        assert "Secure" in cookie
        other = workbenches.certificates["hospital"]
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            _get(urls["research"], only(other))
        assert any(str(other) in line for line in workbenches.lines())


def test_a_certificate_is_made_once(tmp_path: Path) -> None:
    make_certificate(tmp_path, "Research Institute")
    with pytest.raises(FileExistsError):
        make_certificate(tmp_path, "Research Institute")
