"""The files in deploy/ fit together with what the processes need."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from workbench.settings import load_settings

DEPLOY = Path(__file__).parents[1] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def service(unit: Path) -> dict[str, str]:
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read(unit, encoding="utf-8")
    return dict(parsed["Service"])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_keeps_compiled_kernels_where_it_may_write_and_leaves_nothing_to_others(unit: Path) -> None:
    said = service(unit)
    assert said["ProtectSystem"] == "strict"
    assert said["Environment"] == f"NUMBA_CACHE_DIR=/var/cache/{said['CacheDirectory']}"
    assert said["StateDirectoryMode"] == said["CacheDirectoryMode"] == "0700"
    assert (said["UMask"], said["LimitCORE"], said["MemorySwapMax"]) == ("0077", "0", "0")
    written = [word for word in said["ExecStart"].split() if word.startswith("/var")]
    assert all(Path(word).is_relative_to(f"/var/lib/{said['StateDirectory']}") for word in written)


def test_the_workbench_behind_the_proxy_believes_it_and_writes_where_its_unit_may() -> None:
    settings = load_settings(DEPLOY / "workbench.toml")
    proxy = (DEPLOY / "nginx" / "workbench.conf").read_text("utf-8")
    assert f"proxy_pass http://{settings.host}:{settings.port};" in proxy
    assert settings.trusted_proxy == settings.host
    assert settings.secure_cookies
    assert "proxy_set_header Host $http_host;" in proxy, "with its port, which the Origin of a sign-in names"
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in proxy, (
        "an address that a browser cannot choose"
    )
    unit = service(DEPLOY / "systemd" / "tessera-workbench.service")
    state = Path("/var/lib") / unit["StateDirectory"]
    assert settings.state_dir.is_relative_to(state)
    assert settings.site_dir == Path(
        service(DEPLOY / "systemd" / "tessera-site.service")["ExecStart"].split()[-1]
    )
