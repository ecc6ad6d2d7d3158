"""Setting a node up, its settings and its documentation, and the share store's files."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from governance.errors import FederationMismatch
from governance.federation import Federation, NodeEntry
from mpc_backend.client.answers import StatusAnswer
from mpc_backend.client.connection import IDLE_SECONDS
from mpc_backend.client.errors import NodeUnreachable
from mpc_backend.client.nodes import NodeSet
from mpc_backend.errors import ShareFormatError
from mpc_backend.node.cli import node_app
from mpc_backend.node.errors import NodeSetupError, VaultError
from mpc_backend.node.problems import PROBLEMS
from mpc_backend.node.serve import KEEP_ALIVE_SECONDS
from mpc_backend.node.settings import NodeDirectory, NodeSettings
from mpc_backend.node.setup import init_node, pin_federation
from mpc_backend.node.software import software_digest
from mpc_backend.node.vault import CHUNK_BYTES, TAG_BYTES, read_encrypted, write_encrypted
from mpc_backend.packages import Package, Part, decode_outputs, decode_package, encode_outputs, encode_package
from mpc_backend.session import OutputForm

from .conftest import Party, make_party

DOCS = Path(__file__).resolve().parents[3] / "docs" / "node.md"


def rows_of(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| `")
    ]


def test_every_setting_is_documented_with_its_default() -> None:
    documented = {
        row[0].strip("`"): row[1:] for row in rows_of(DOCS.read_text().split("## How a run goes")[0])
    }
    for name, field in NodeSettings.model_fields.items():
        default, meaning = documented[name]
        assert meaning == field.description
        assert (json.loads(default) if default else None) == (None if field.is_required() else field.default)


def test_every_problem_type_is_documented() -> None:
    documented = {
        row[0].strip("`"): tuple(row[1:]) for row in rows_of(DOCS.read_text().split("Refusals are")[1])
    }
    assert documented == {slug: (str(one.status), one.title) for slug, one in PROBLEMS.items()}


def test_init_prints_the_entry_and_guards_the_keys(tmp_path: Path) -> None:
    arguments = ["init", str(tmp_path / "n"), "--index", "2", "--id", "node-c", "--organisation", "Registry"]
    result = CliRunner().invoke(
        node_app, [*arguments, "--control", "127.0.0.1:8443", "--data", "127.0.0.1:9443"]
    )
    assert result.exit_code == 0, result.output
    entry = NodeEntry.model_validate_json(result.output)
    assert (entry.index, entry.id, entry.control_url) == (2, "node-c", "https://127.0.0.1:8443")
    assert NodeEntry.model_validate_json((tmp_path / "n" / "entry.json").read_text()) == entry
    for name in ("identity.pem", "sealing.pem", "tls.key", "kek"):
        assert stat.S_IMODE((tmp_path / "n" / "keys" / name).stat().st_mode) == 0o600


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("usual_umask")
def test_what_the_commands_of_a_node_write_is_for_its_owner_alone(tmp_path: Path) -> None:
    arguments = ["init", str(tmp_path / "n"), "--index", "2", "--id", "node-c", "--organisation", "Registry"]
    CliRunner().invoke(node_app, [*arguments, "--control", "127.0.0.1:8443", "--data", "127.0.0.1:9443"])
    files = [path for path in (tmp_path / "n").rglob("*") if path.is_file()]
    assert {"node.toml", "entry.json"} < {path.name for path in files}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


@pytest.mark.parametrize("as_json", [True, False])
def test_the_status_of_every_node_is_printed_and_is_a_failure_if_one_is_silent_or_faulty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    party = make_party(tmp_path)
    pin_federation(party.directory(0), _saved(party, tmp_path), None)
    one = StatusAnswer(running=None, runs={}, log_size=3, software="5" * 64)
    answers = dict.fromkeys(party.names, one)
    arguments = ["status", str(party.directory(0).path), *(["--json"] if as_json else [])]

    def each(_self: NodeSet, _ask: object) -> tuple[dict[str, StatusAnswer], dict[str, NodeUnreachable]]:
        silent = {
            name: NodeUnreachable(name, "address", "refused") for name in party.names if name not in answers
        }
        return answers, silent

    monkeypatch.setattr(NodeSet, "each_that_answers", each)
    for expected, states in (
        (0, ["idle"] * 4),
        (3, ["idle", "faulty", "idle", "idle"]),
        (3, ["unreachable"] * 4),
    ):
        result = CliRunner().invoke(node_app, arguments)
        if as_json:
            assert [line["state"] for line in json.loads(result.output)] == states
        else:
            assert [line.split()[1] for line in result.output.splitlines()] == states
        assert result.exit_code == expected, result.output
        if expected:
            answers.clear()
        else:
            answers["node-b"] = one.model_copy(update={"fault": "starts no more runs"})


def _saved(party: Party, folder: Path) -> Path:
    party.federation.save(folder / "federation.json")
    return folder / "federation.json"


def test_init_never_overwrites_and_leaves_nothing_behind(tmp_path: Path) -> None:
    options = {"index": 0, "organisation": "Registry", "control": "127.0.0.1:1", "data": "127.0.0.1:2"}
    init_node(tmp_path / "n", node_id="node-a", **options)  # type: ignore[arg-type]
    before = (tmp_path / "n" / "keys" / "identity.pem").read_bytes()
    with pytest.raises(NodeSetupError, match="never overwritten"):
        init_node(tmp_path / "n", node_id="node-a", **options)  # type: ignore[arg-type]
    assert (tmp_path / "n" / "keys" / "identity.pem").read_bytes() == before
    with pytest.raises(NodeSetupError, match="id"):
        init_node(tmp_path / "m", node_id="No Slug!", **options)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["n"]


def test_a_node_accepts_only_the_pinned_federation(tmp_path: Path) -> None:
    party = make_party(tmp_path)
    directory, file = party.directory(0), tmp_path / "federation.json"
    with pytest.raises(NodeSetupError, match="no federation is pinned"):
        pin_federation(directory, None, None)
    party.federation.save(file)
    assert pin_federation(directory, file, None) == party.federation
    assert pin_federation(directory, None, None) == party.federation
    changed = party.federation.model_copy(update={"version": 2})
    changed.save(file)
    with pytest.raises(FederationMismatch, match=f"pinned is {party.federation.digest}") as refused:
        pin_federation(directory, file, None)
    assert f"--pin {changed.digest}" not in str(refused.value), "the digest to pin comes from the members"
    assert pin_federation(directory, None, None) == party.federation
    assert pin_federation(directory, file, changed.digest) == changed
    assert pin_federation(directory, None, None) == changed


def test_a_federation_that_lists_other_keys_is_refused(tmp_path: Path) -> None:
    party = make_party(tmp_path)
    nodes = list(party.federation.nodes)
    swapped = nodes[0].model_copy(update={"data_address": "127.0.0.1:9"})
    federation = Federation.model_validate(
        {
            **party.federation.model_dump(),
            "nodes": [swapped.model_dump(), *(n.model_dump() for n in nodes[1:])],
        }
    )
    federation.save(tmp_path / "other.json")
    with pytest.raises(NodeSetupError, match="another data_address for node-a"):
        pin_federation(party.directory(0), tmp_path / "other.json", None)


@pytest.mark.parametrize(
    ("line", "word"), [("colour = 'red'", "colour"), ("message_seconds = -1", "message_seconds")]
)
def test_a_wrong_setting_is_named(tmp_path: Path, line: str, word: str) -> None:
    party = make_party(tmp_path)
    directory = party.directory(0)
    with directory.settings_file.open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(NodeSetupError, match=word):
        directory.settings()


def test_the_environment_overrides_the_file(party: Party, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_NODE_MESSAGE_SECONDS", "7.5")
    assert party.directory(0).settings().message_seconds == 7.5


def test_a_folder_without_a_node_says_so(tmp_path: Path) -> None:
    with pytest.raises(NodeSetupError, match="tessera node init"):
        NodeDirectory(tmp_path).settings()


def test_the_software_digest_covers_every_source_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "part.py").write_text("x = 1\n")
    monkeypatch.setattr("mpc_backend.node.software.PACKAGES", ("one",))
    monkeypatch.setattr("mpc_backend.node.software.package_folder", lambda _: tmp_path)
    digests = []
    for text in ("x = 1\n", "x = 1\n", "x = 2\n"):
        (tmp_path / "part.py").write_text(text)
        software_digest.cache_clear()
        digests.append(software_digest())
    (tmp_path / "part.py").rename(tmp_path / "other.py")
    software_digest.cache_clear()
    digests.append(software_digest())
    software_digest.cache_clear()
    assert re.fullmatch("[0-9a-f]{64}", digests[0])
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


# Files of the share store


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])
def test_a_stored_file_reads_back(tmp_path: Path, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    write_encrypted(tmp_path / "f", bytes(32), "upload", [data[: size // 2], data[size // 2 : size]])
    assert read_encrypted(tmp_path / "f", bytes(32), "upload") == data[:size]


@pytest.mark.parametrize(
    "how", ["flip", "cut a chunk", "cut a byte", "swap chunks", "other key", "other upload"]
)
def test_a_changed_stored_file_is_refused(tmp_path: Path, how: str) -> None:
    path, size = tmp_path / "f", CHUNK_BYTES + TAG_BYTES
    write_encrypted(path, bytes(32), "upload", [bytes(2 * CHUNK_BYTES)])
    data = path.read_bytes()
    changed = {
        "flip": data[:100] + bytes([data[100] ^ 1]) + data[101:],
        "cut a chunk": data[:size],
        "cut a byte": data[:-1],
        "swap chunks": data[size : 2 * size] + data[:size],
    }
    path.write_bytes(changed.get(how, data))
    key = bytes([1]) * 32 if how == "other key" else bytes(32)
    with pytest.raises(VaultError):
        read_encrypted(path, key, "another" if how == "other upload" else "upload")


# Packages


def package() -> Package:
    return Package(
        {0: bytes(32), 2: bytes([7]) * 32}, (Part("a/t", "x", 0, b"\x00abc"), Part("a/t", "x", 2, b"\x01de"))
    )


def test_a_package_is_these_bytes() -> None:
    header = (
        b'{"parts":[["a/t","x",0,4],["a/t","x",2,3]],"salts":{"0":"'
        + b"00" * 32
        + b'","2":"'
        + b"07" * 32
        + b'"}}'
    )
    expected = (
        bytes.fromhex("54535031")
        + len(header).to_bytes(4, "little")
        + header
        + bytes.fromhex("00616263 016465")
    )
    assert encode_package(package()) == expected
    assert decode_package(expected) == package()
    assert decode_package(expected).digests() == package().digests()


def test_digests_cover_names_and_are_these() -> None:
    def item(data: bytes) -> bytes:
        return len(data).to_bytes(8, "little") + data

    names = item(b"a/t") + item(b"x") + item(bytes(8)) + item(b"\x00abc")
    assert package().digests()[0] == hashlib.sha256(b"TSD2" + bytes(32) + names).hexdigest()
    x, y = Part("a/t", "x", 0, b"\x00a"), Part("a/t", "y", 0, b"\x00b")
    swapped = (replace(x, column="y"), replace(y, column="x"))
    moved = (replace(x, table="a/u"), y)
    joined = (replace(x, table="a/tx", column=""), y)
    found = [Package({0: bytes(32)}, parts).digests()[0] for parts in ((x, y), swapped, moved, joined)]
    assert len(set(found)) == 4


def test_a_part_without_a_salt_is_refused() -> None:
    with pytest.raises(ShareFormatError, match="header"):
        decode_package(encode_package(replace(package(), salts={0: bytes(32)})))


def test_digests_depend_on_salt_share_and_place() -> None:
    plain = package().digests()[0]
    salted = Package({0: bytes([1]) * 32}, (Part("a/t", "x", 0, b"\x00abc"),)).digests()[0]
    split = Package({0: bytes(32)}, (Part("a/t", "x", 0, b"\x00a"), Part("a/t", "y", 0, b"bc"))).digests()[0]
    assert len({plain, salted, split}) == 3


@pytest.mark.parametrize("cut", [0, 3, 7, 20, -1])
def test_a_package_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(ShareFormatError):
        decode_package(encode_package(package())[:cut])
    with pytest.raises(ShareFormatError):
        decode_package(encode_package(package()) + b"x")


def test_outputs_are_these_bytes() -> None:
    outputs = {"n": (OutputForm("int", (2,), 64, 0), {1: b"\x01ab", 0: b"\x00c"})}
    header = b'[["n","int",[2],64,0,[[0,2],[1,3]]]]'
    data = b"TSO1" + bytes.fromhex("24000000") + header + b"\x00c\x01ab"
    assert encode_outputs(outputs) == data
    assert decode_outputs(data) == outputs
    for wrong in (b"", data[:-1], data + b"x", b"TSO2" + data[4:]):
        with pytest.raises(ShareFormatError):
            decode_outputs(wrong)


def test_clients_leave_idle_connections_before_nodes_close_them() -> None:
    """With one time for both, a request now and then met the close and was told that the node does not answer."""
    assert 2 * IDLE_SECONDS < KEEP_ALIVE_SECONDS
