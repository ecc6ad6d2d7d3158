"""The umbrella command: fast help, one way of saying errors, accounts and settings from the command line."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import BaseModel, ValidationError

from governance.errors import Expired
from mpc_backend.errors import PeerLost
from workbench.cli import MOUNTS, main
from workbench.demo.certificates import make_certificate
from workbench.errors import exit_status, message_of
from workbench.parts.sitemap import SITEMAP
from workbench.settings import WorkbenchSettings, load_settings, write_settings


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(words)
    seen = capsys.readouterr()
    return int(stop.value.code or 0), seen.out, seen.err


def test_help_names_every_command_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(f" {mount.name} " in out for mount in MOUNTS)
    script = (
        "import sys, workbench.cli as c\ntry: c.main(['--help'])\nexcept SystemExit: print([*sys.modules])"
    )
    listed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not [heavy for heavy in ("streamlit", "numba", "ibis", "pandas") if f"'{heavy}'" in listed]


@pytest.mark.parametrize("verb", ["survival", "count", "ranking"])
def test_what_the_readme_tries_is_answered(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[2]
    text = (root / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = [line for line in text.splitlines() if line.startswith(f".venv/bin/tessera try {verb} ")]
    monkeypatch.chdir(root)
    code, out, err = run(capsys, *shlex.split(line)[1:])
    assert (code, err) == (0, "")
    assert {
        "survival": "log rank: chi2",
        "count": '"state": "released"',
        "ranking": "similar patients: as asked",
    }[verb] in out


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "bogus")
    assert code == 2
    assert "bogus" in err


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / "workbench.toml"
    path.write_text('title = "North"\nstate_dir = "state"\n')
    (tmp_path / "password").write_text("correct horse battery\n")
    return path


def test_accounts_from_the_command_line(
    capsys: pytest.CaptureFixture[str], settings_file: Path, tmp_path: Path
) -> None:
    start = ("workbench", "--settings", str(settings_file), "users")
    password = ("--password-file", str(tmp_path / "password"))
    code, out, _ = run(capsys, *start, "add", "analyst", "--role", "researcher", *password)
    assert code == 0
    assert "signing_key: " in out
    keys = tmp_path / "state" / "identities" / "analyst"
    assert [file.stat().st_mode & 0o077 for file in keys.iterdir()] == [0, 0, 0]
    code, out, _ = run(capsys, *start, "list")
    assert out.startswith("analyst\tresearcher\tactive")
    code, _, err = run(capsys, *start, "add", "analyst", "--role", "researcher", *password)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("tessera: account analyst exists")
    code, _, err = run(capsys, *start, "add", "doctor", "--role", "physician", *password)
    assert (code, "physician have pages only at a hospital's own workbench" in err) == (2, True)
    code, _, err = run(capsys, *start, "add", "doctor", "--role", "researcher")
    assert (code, err.count("\n"), "no password: give --password-file" in err) == (2, 1, True)
    assert not (tmp_path / "state" / "identities" / "doctor").exists()


def test_a_role_has_pages_where_it_can_be_given(tmp_path: Path) -> None:
    for settings in (WorkbenchSettings(), WorkbenchSettings(kind="hospital", site_dir=tmp_path)):
        assert set(settings.roles) == {entry.role for entry in SITEMAP if settings.kind in entry.kinds}


def test_an_address_in_use_is_a_failure_in_our_words(
    capsys: pytest.CaptureFixture[str], settings_file: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, _, err = run(capsys, "workbench", "--settings", str(settings_file), "--port", str(port))
    assert (code, err.count("\n")) == (3, 1)
    assert f"cannot listen at 127.0.0.1:{port}: " in err
    assert not (tmp_path / "state" / "serving.toml").exists()


def test_settings_are_refused_with_the_reason(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "workbench.toml"
    for text, words in {
        'kind = "hospital"': "site_dir",
        'kind = "research"\nsite_dir = "site"': "must not see a site directory",
        "porrt = 8501": "porrt",
        "port = [": "not a TOML file",
        'host = "0.0.0.0"': "host '0.0.0.0' is reached from other machines",
        'host = ""': "host '' is reached from other machines",
        'host = "workbench.example.org"': "set 'tls_certificate' and 'tls_key', or 'behind_tls_proxy' and 'trusted_proxy'",
        "behind_tls_proxy = true": "'behind_tls_proxy' needs 'trusted_proxy'",
        'tls_key = "tls.key"': "'tls_certificate' and 'tls_key' go together",
    }.items():
        path.write_text(text)
        code, _, err = run(capsys, "workbench", "--settings", str(path), "users", "list")
        assert code == 2
        assert words in err
        assert "Traceback" not in err


def test_other_machines_are_served_with_tls_alone(tmp_path: Path) -> None:
    tls = {"tls_certificate": tmp_path / "tls.crt", "tls_key": tmp_path / "tls.key"}
    proxy = {"behind_tls_proxy": True, "trusted_proxy": "192.0.2.1"}
    for host in ("0.0.0.0", "::", "workbench.example.org"):
        assert load_settings(None, host=host, **proxy).secure_cookies
        assert load_settings(None, host=host, **tls).secure_cookies
    for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        assert not load_settings(None, host=host).secure_cookies


def test_a_certificate_that_cannot_be_served_is_refused_before_anything_is_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        make_certificate(tmp_path / name, "Hospital North")
    key = load_pem_private_key((tmp_path / "one" / "tls.key").read_bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase"))
    (tmp_path / "locked.key").write_bytes(locked)
    path = tmp_path / "workbench.toml"
    for certificate, private, words in (
        ("absent.crt", "one/tls.key", "No such file"),
        ("one/tls.key", "one/tls.key", "PEM"),
        ("one/tls.crt", "other/tls.key", "mismatch"),
        ("one/tls.crt", "locked.key", "the key is encrypted"),
    ):
        path.write_text(f'state_dir = "state"\ntls_certificate = "{certificate}"\ntls_key = "{private}"\n')
        code, _, err = run(capsys, "workbench", "--settings", str(path))
        assert (code, err.count("\n")) == (2, 1)
        assert words in err
        assert f"{tmp_path / certificate} with {tmp_path / private}: cannot be served" in err
        assert not (tmp_path / "state").exists()


def test_settings_survive_writing_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sub" / "workbench.toml"
    settings = WorkbenchSettings(
        kind="hospital", site_dir=tmp_path / "site", state_dir=tmp_path / "state", title='The "North"'
    )
    write_settings(path, settings)
    assert load_settings(path) == settings
    monkeypatch.setenv("TESSERA_WORKBENCH_TITLE", "South")
    assert load_settings(path).title == "South"


def test_errors_become_two_or_three_and_never_repeat_input() -> None:
    class Age(BaseModel):
        age: int

    with pytest.raises(ValidationError) as invalid:
        Age.model_validate({"age": "seventy-one"})
    assert exit_status(invalid.value) == 2
    assert "seventy-one" not in message_of(invalid.value)
    assert message_of(invalid.value).startswith("age: ")
    assert exit_status(Expired("over")) == 2
    assert exit_status(PeerLost("gone")) == 3
    assert exit_status(ConnectionRefusedError("no")) == 3
    assert exit_status(ZeroDivisionError()) is None


def test_every_setting_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "workbench.md").read_text(encoding="utf-8")
    assert [name for name in WorkbenchSettings.model_fields if f"`{name}`" not in text] == []


@pytest.mark.parametrize(("name", "n"), [("fhir_load", 500), ("cohort_eval", 4_000)])
def test_what_a_hospital_does_in_the_clear_is_benchmarked(
    capsys: pytest.CaptureFixture[str], name: str, n: int
) -> None:
    code, out, err = run(capsys, "bench", name, "--n", str(n), "--repeats", "1", "--json")
    assert code == 0, err
    measured = json.loads(out)
    assert measured["n"] == pytest.approx(n, rel=0.1)
    assert (measured["name"], measured["protocol"], measured["bytes_sent"]) == (name, "none", [])
    assert measured["seconds"] > 0


def test_the_benchmark_prints_a_table_by_default_and_refuses_what_it_has_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = run(capsys, "bench", "fhir_load", "--n", "500", "--repeats", "1")
    assert code == 0
    assert "a second, in the clear" in out
    for words in (("cohort_eval", "--n", "10"), ("multiply", "--workers", "0"), ("nothing",)):
        code, _, err = run(capsys, "bench", *words)
        assert code == 2
        assert words[1] in err if len(words) == 3 else words[0] in err
