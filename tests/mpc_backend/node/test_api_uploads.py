"""The control interface: uploads, their checks, and how shares are destroyed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from governance.envelope import peek_document, sign_document
from governance.manifest import UploadManifest
from governance.study import StudyProtocol
from mpc_backend.node.database import UploadRow, utc_now
from mpc_backend.node.studies import close_expired
from mpc_backend.packages import SealContext, seal_chunks, unseal_chunks

from .calling import Node, refused, resigned
from .studying import (
    approval,
    approvals,
    ranking,
    request,
    shared,
    study,
    submission,
    withdrawal,
)


def test_an_upload_is_kept_encrypted_and_listed(node: Node, approved: StudyProtocol) -> None:
    upload = shared(node.party, approved, "north")
    response = node.send(upload)
    assert response.status_code == 201, response.text
    (line,) = node.client.get(f"/v1/studies/{approved.digest}/uploads").json()
    assert (line["site"], line["destroyed"]) == ("north", False)
    stored = (node.core.directory.shares / line["upload_id"]).read_bytes()
    assert b"TSP1" not in stored
    assert b"attrition" not in stored
    assert node.leftovers() == []


def test_a_second_upload_of_the_same_study_is_refused(node: Node, approved: StudyProtocol) -> None:
    assert node.send(shared(node.party, approved, "north")).status_code == 201
    second = node.send(shared(node.party, approved, "north"))
    refused(second, "duplicate-upload", "north has uploaded", "shares of a study never change")
    assert len(node.client.get(f"/v1/studies/{approved.digest}/uploads").json()) == 1
    assert node.leftovers() == []


def test_nothing_is_uploaded_before_all_have_signed(node: Node) -> None:
    one = study(node.party)
    node.post_study(one, submission(one), approval(node.party, one, "north"))
    response = node.send(shared(node.party, one, "north"))
    refused(response, "not-approved", "south, west")
    assert response.json()["missing"] == ["south", "west"]


def test_an_upload_signed_by_another_site_is_refused(node: Node, approved: StudyProtocol) -> None:
    upload = shared(node.party, approved, "north")
    manifest = peek_document(upload.manifest, UploadManifest)
    forged = sign_document(manifest, node.party.connectors["south"])
    refused(node.upload(forged, upload.sealed["node-b"]), "signature", "connector of north")


def test_an_upload_not_permitted_is_refused_before_its_shares_arrive(
    node: Node, approved: StudyProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mpc_backend.node.uploads import Incoming

    def written(self: Incoming, piece: bytes) -> None:
        raise AssertionError("shares were taken in")

    upload = shared(node.party, approved, "north")
    forged = sign_document(peek_document(upload.manifest, UploadManifest), node.party.connectors["south"])
    monkeypatch.setattr(Incoming, "take", written)
    refused(node.upload(forged, b"x" * 1000), "signature", "connector of north")
    assert list(node.core.directory.incoming.iterdir()) == []


def test_a_flipped_byte_of_the_sealed_package_is_refused(node: Node, approved: StudyProtocol) -> None:
    upload = shared(node.party, approved, "north")
    sealed = bytearray(upload.sealed["node-b"])
    sealed[len(sealed) // 2] ^= 1
    refused(node.upload(upload.manifest, bytes(sealed)), "shares-mismatch")
    assert node.client.get(f"/v1/studies/{approved.digest}/uploads").json() == []
    assert node.leftovers() == []


def test_a_package_sealed_anew_is_not_the_one_signed_for(node: Node, approved: StudyProtocol) -> None:
    upload = shared(node.party, approved, "north")
    manifest = peek_document(upload.manifest, UploadManifest)
    context = SealContext(approved.digest, "north", "node-b", manifest.upload_id)
    plain = unseal_chunks(upload.sealed["node-b"], node.core.sealing, context)
    anew = seal_chunks(plain, node.core.sealing.public, context)
    refused(node.upload(upload.manifest, anew), "shares-mismatch", "not the one the manifest was signed for")


def test_shares_other_than_the_signed_ones_are_refused(node: Node, approved: StudyProtocol) -> None:
    upload, other = shared(node.party, approved, "north"), shared(node.party, approved, "north")
    mixed = resigned(node.party, upload, "north", shares=peek_document(other.manifest, UploadManifest).shares)
    refused(node.upload(mixed, upload.sealed["node-b"]), "shares-mismatch", "share")


def test_a_package_sealed_to_another_node_or_study_is_refused(node: Node, approved: StudyProtocol) -> None:
    upload = shared(node.party, approved, "north")
    sealed = {**peek_document(upload.manifest, UploadManifest).sealed}
    sealed["node-b"] = sealed["node-c"]
    swapped = resigned(node.party, upload, "north", sealed=sealed)
    refused(node.upload(swapped, upload.sealed["node-c"]), "shares-mismatch", "does not open")


def test_foreign_tables_are_refused(node: Node, approved: StudyProtocol) -> None:
    upload = shared(node.party, approved, "north")
    manifest = peek_document(upload.manifest, UploadManifest)
    more = tuple(table.model_copy(update={"rows": table.rows + 1}) for table in manifest.tables)
    refused(
        node.upload(resigned(node.party, upload, "north", tables=more), upload.sealed["node-b"]),
        "tables-mismatch",
        "rows",
    )
    named = tuple(table.model_copy(update={"columns": ("names",)}) for table in manifest.tables)
    refused(
        node.upload(resigned(node.party, upload, "north", tables=named), upload.sealed["node-b"]),
        "tables-mismatch",
        "columns",
    )


def test_tables_of_persons_must_be_padded(node: Node) -> None:
    one = study(node.party, analyses=[ranking()])
    node.post_study(one, *approvals(node.party, one))
    upload = shared(node.party, one, "north", rows=900)
    manifest = peek_document(upload.manifest, UploadManifest)
    assert manifest.tables[0].rows == 1024
    bare = tuple(table.model_copy(update={"rows": 900}) for table in manifest.tables)
    refused(
        node.upload(resigned(node.party, upload, "north", tables=bare), upload.sealed["node-b"]),
        "tables-mismatch",
        "padded to 1024",
    )
    assert node.send(upload).status_code == 201


@pytest.mark.parametrize(
    "body", [b"", b"\x05", b"\x05\x00\x00\x00abc", b"\xff\xff\xff\xff", b"\x02\x00\x00\x00{}x"]
)
def test_what_is_no_upload_is_refused(node: Node, body: bytes) -> None:
    refused(node.client.post("/v1/uploads", content=body), "malformed")
    assert node.leftovers() == []


def test_an_upload_larger_than_the_cap_is_refused_while_it_arrives(
    node: Node, approved: StudyProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpc_backend.node.uploads.MIB", 1)
    upload = shared(node.party, approved, "north")
    refused(node.upload(upload.manifest, bytes(1000)), "too-large", "256 MiB")
    assert node.leftovers() == []


def test_withdrawal_destroys_the_shares_and_is_logged(node: Node, approved: StudyProtocol) -> None:
    upload = shared(node.party, approved, "west")
    assert node.send(upload).status_code == 201
    (line,) = node.client.get(f"/v1/studies/{approved.digest}/uploads").json()
    path = node.core.directory.shares / line["upload_id"]
    assert path.exists()
    assert node.say(approved, withdrawal(node.party, approved, "west")).status_code == 201
    assert not path.exists()
    assert node.client.get(f"/v1/studies/{approved.digest}/uploads").json()[0]["destroyed"] is True
    entries = node.client.get("/v1/log/entries").json()["entries"]
    last = [entry for entry in entries if entry["event"] == "shares destroyed"][-1]
    assert (last["site"], last["why"], last["study"]) == ("west", "withdrawn", approved.digest)
    refused(node.send(shared(node.party, approved, "west")), "withdrawn")


def test_a_destroyed_key_cannot_be_unwrapped_even_with_the_file(node: Node, approved: StudyProtocol) -> None:
    from mpc_backend.node.errors import VaultError
    from mpc_backend.node.vault import read_encrypted

    assert node.send(shared(node.party, approved, "west")).status_code == 201
    (line,) = node.client.get(f"/v1/studies/{approved.digest}/uploads").json()
    path = node.core.directory.shares / line["upload_id"]
    copy = path.with_name("backup")
    copy.write_bytes(path.read_bytes())
    with node.core.database.read() as session:
        key = node.core.vault.existing_key(session, approved.digest, "west")
    assert read_encrypted(copy, key, line["upload_id"])[:4] == b"TSP1"
    node.say(approved, withdrawal(node.party, approved, "west"))
    with node.core.database.read() as session, pytest.raises(VaultError, match="were destroyed"):
        node.core.vault.existing_key(session, approved.digest, "west")
    copy.unlink()


def test_an_expired_study_takes_nothing_and_loses_its_shares(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = study(node.party)
    node.post_study(one, *approvals(node.party, one))
    assert node.send(shared(node.party, one, "north")).status_code == 201
    later = utc_now() + timedelta(days=365)
    for module in ("studies", "uploads", "runs"):
        monkeypatch.setattr(f"mpc_backend.node.{module}.utc_now", lambda: later)
    refused(node.send(shared(node.party, one, "south")), "expired")
    refused(node.run(request(one, "persons")), "expired")
    close_expired(node.core)
    with node.core.database.read() as session:
        rows = list(session.query(UploadRow).where(UploadRow.study == one.digest))
    assert [row.destroyed for row in rows] == [True]
