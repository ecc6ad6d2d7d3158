"""Settings of one workbench: a TOML file, overridden by environment variables with the prefix ``TESSERA_WORKBENCH_``.

``kind`` decides which pages exist. A *research* workbench is shared, so it never mounts physician or
steward pages; a *hospital* workbench runs inside one hospital beside that hospital's site directory.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from workbench.errors import SettingsError, message_of

Kind = Literal["research", "hospital"]
ROLES = ("researcher", "physician", "steward", "administrator")
SHARED_ROLES = ("researcher", "administrator")
"""Roles that have pages at a shared workbench."""
SETTINGS_VARIABLE = "TESSERA_WORKBENCH_SETTINGS"


class WorkbenchSettings(BaseSettings):
    """Everything a workbench needs to start; unknown names are refused."""

    model_config = SettingsConfigDict(env_prefix="TESSERA_WORKBENCH_", extra="forbid", frozen=True)

    kind: Kind = Field("research", description="'research' (shared) or 'hospital' (physicians and stewards)")
    title: str = Field("Tessera", description="name of the organisation, shown in the sidebar")
    state_dir: Path = Field(Path("workbench-state"), description="accounts, drafts, jobs and results")
    federation: Path = Field(Path("federation.json"), description="the agreed federation file")
    federation_digest: str = Field("", description="its SHA-256 as agreed; empty: pinned at first start")
    site_dir: Path | None = Field(None, description="the hospital's site directory (kind 'hospital' only)")
    examples_dir: Path | None = Field(
        None, description="study files offered as worked examples, and `cohorts/*.cohort` to count"
    )
    host: str = Field(
        "127.0.0.1",
        description="address to listen on; other than loopback only with TLS or behind a TLS proxy",
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8501, description="port to listen on; 0: any free one"
    )
    tls_certificate: Path | None = Field(None, description="PEM certificate (chain) to serve HTTPS with")
    tls_key: Path | None = Field(None, description="PEM key of the certificate, without a passphrase")
    behind_tls_proxy: bool = Field(
        False, description="a proxy in front speaks HTTPS with browsers, though this process speaks HTTP"
    )
    trusted_proxy: str = Field(
        "",
        description="address of the proxy whose X-Forwarded-For names the browser; needed with behind_tls_proxy",
    )
    session_hours: Annotated[float, Field(gt=0, le=24)] = Field(
        8.0, description="a sign-in ends after so long"
    )
    lock_after: Annotated[int, Field(ge=3, le=20)] = Field(
        5, description="failed sign-ins of a name at one address that lock it there"
    )
    lock_minutes: Annotated[int, Field(ge=1, le=1440)] = Field(15, description="how long a lock lasts")

    @model_validator(mode="after")
    def _consistent(self) -> WorkbenchSettings:
        if self.kind == "hospital" and self.site_dir is None:
            raise ValueError("a hospital workbench needs 'site_dir', the hospital's site directory")
        if self.kind == "research" and self.site_dir is not None:
            raise ValueError("a research workbench must not see a site directory; remove 'site_dir'")
        if self.trusted_proxy and not _is_address(self.trusted_proxy):
            raise ValueError(f"'trusted_proxy' is the IP address of one proxy, not {self.trusted_proxy!r}")
        if self.behind_tls_proxy and not self.trusted_proxy:
            raise ValueError(
                "'behind_tls_proxy' needs 'trusted_proxy', the IP address from which the proxy connects: without it all "
                "browsers count as one, so that anybody's wrong passwords would lock everybody out"
            )
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("'tls_certificate' and 'tls_key' go together")
        if not self.secure_cookies and not _loopback(self.host):
            raise ValueError(
                f"host {self.host!r} is reached from other machines, where passwords must not travel in clear: set "
                "'tls_certificate' and 'tls_key', or 'behind_tls_proxy' and 'trusted_proxy' if a proxy speaks HTTPS, or "
                "listen on 127.0.0.1"
            )
        return self

    @property
    def secure_cookies(self) -> bool:
        """Whether browsers reach this workbench over HTTPS."""
        return self.behind_tls_proxy or self.tls_certificate is not None

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles that have pages at a workbench of this kind."""
        return ROLES if self.kind == "hospital" else SHARED_ROLES

    @property
    def database(self) -> Path:
        """SQLite file of accounts, sessions, drafts and jobs."""
        return self.state_dir / "workbench.sqlite"

    @property
    def identities(self) -> Path:
        """Folder with one folder of keys per account."""
        return self.state_dir / "identities"


def check_certificate(settings: WorkbenchSettings) -> None:
    """See that the certificate can be served with its key, before anything listens.

    Raises:
        SettingsError: a file is absent or not PEM, the key has a passphrase, or it is another certificate's.
    """
    if settings.tls_certificate is None or settings.tls_key is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            settings.tls_certificate, settings.tls_key, password=_no_passphrase
        )
    except OSError as error:
        raise SettingsError(
            f"{settings.tls_certificate} with {settings.tls_key}: cannot be served: {error.strerror or error}; give a PEM "
            "certificate and its own unencrypted PEM key, both readable to this user"
        ) from None


def _no_passphrase() -> str:
    raise PermissionError("the key is encrypted")


def _loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback if _is_address(host) else host == "localhost"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def load_settings(path: Path | None, **overrides: object) -> WorkbenchSettings:
    """Read settings from a TOML file (relative paths in it are relative to it), then the overrides.

    Raises:
        SettingsError: the file is absent, is not TOML, or a value in it is not allowed.
    """
    given = {**({} if path is None else _read(path)), **overrides}
    try:
        return WorkbenchSettings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError(f"settings of the workbench: {message_of(error)}") from None


def _read(path: Path) -> dict[str, object]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"{path}: no such settings file; write one or pass another with --settings"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not a TOML file: {error}") from None
    folders = ("state_dir", "federation", "site_dir", "examples_dir", "tls_certificate", "tls_key")
    return {
        name: str(path.parent / value) if name in folders else value
        for name, value in content.items()
        if f"TESSERA_WORKBENCH_{name.upper()}" not in os.environ
    }


def write_settings(path: Path, settings: WorkbenchSettings) -> None:
    """Write the settings that differ from the defaults as TOML, with absolute paths."""
    lines = []
    for name, value in settings.model_dump(exclude_defaults=True).items():
        text = str(value.absolute()) if isinstance(value, Path) else value
        lines.append(f"{name} = {_toml(text)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def settings_from_environment() -> WorkbenchSettings:
    """The settings of the workbench this process serves, named by ``TESSERA_WORKBENCH_SETTINGS``."""
    named = os.environ.get(SETTINGS_VARIABLE)
    return load_settings(Path(named) if named else None)
