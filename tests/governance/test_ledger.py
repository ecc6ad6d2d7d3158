"""The Merkle tree against known answers and against a direct reading of RFC 6962; the log file against tampering."""

from __future__ import annotations

import hashlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.envelope import open_document
from governance.errors import LedgerError, SignatureError
from governance.keys import SigningKey
from governance.ledger import Checkpoint, Ledger, cosign
from governance.merkle import MerkleTree, leaf_hash, verify_consistency, verify_inclusion
from tests.governance.conftest import NOW

# The test entries and roots of the Certificate Transparency reference implementation.
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# (leaf index, tree size, proof), from the same source.
INCLUSION = [
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
]
CONSISTENCY = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]


def tree(entries: list[bytes]) -> MerkleTree:
    built = MerkleTree()
    for entry in entries:
        built.append(leaf_hash(entry))
    return built


def direct_root(entries: list[bytes]) -> bytes:
    """MTH as RFC 6962 section 2.1 writes it."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while 2 * k < len(entries):
        k *= 2
    return hashlib.sha256(b"\x01" + direct_root(entries[:k]) + direct_root(entries[k:])).digest()


def test_known_roots() -> None:
    whole = tree(ENTRIES)
    assert [whole.root(size).hex() for size in range(9)] == ROOTS


@pytest.mark.parametrize(("index", "size", "proof"), INCLUSION)
def test_known_inclusion_proofs(index: int, size: int, proof: list[str]) -> None:
    assert [step.hex() for step in tree(ENTRIES).inclusion_proof(index, size)] == proof


@pytest.mark.parametrize(("old", "size", "proof"), CONSISTENCY)
def test_known_consistency_proofs(old: int, size: int, proof: list[str]) -> None:
    assert [step.hex() for step in tree(ENTRIES).consistency_proof(old, size)] == proof


@given(st.integers(1, 70), st.data())
def test_proofs_hold_for_the_truth_and_for_nothing_else(size: int, data: st.DataObject) -> None:
    entries = [bytes([index]) for index in range(size)]
    built = tree(entries)
    root = built.root()
    assert root == direct_root(entries)
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    path, growth = built.inclusion_proof(index), built.consistency_proof(old)
    verify_inclusion(leaf_hash(entries[index]), index, size, path, root)
    verify_consistency(old, built.root(old), size, root, growth)
    with pytest.raises(LedgerError):
        verify_inclusion(leaf_hash(b"other"), index, size, path, root)
    with pytest.raises(LedgerError):
        verify_inclusion(leaf_hash(entries[index]), index, size, [*path, root], root)
    with pytest.raises(LedgerError):
        verify_consistency(old, leaf_hash(b"other"), size, root, growth)
    with pytest.raises(LedgerError):
        verify_consistency(old, built.root(old), size, leaf_hash(b"other"), growth)
    for position in range(len(path)):
        broken = [*path[:position], leaf_hash(b"other"), *path[position + 1 :]]
        with pytest.raises(LedgerError):
            verify_inclusion(leaf_hash(entries[index]), index, size, broken, root)
        with pytest.raises(LedgerError):
            verify_inclusion(leaf_hash(entries[index]), index, size, path[:position], root)
    for position in range(len(growth)):
        with pytest.raises(LedgerError):
            verify_consistency(old, built.root(old), size, root, growth[:position])


def test_a_proof_for_a_smaller_log_does_not_pass_for_a_larger_one() -> None:
    small = tree(ENTRIES[:2])
    with pytest.raises(LedgerError):
        verify_inclusion(leaf_hash(ENTRIES[0]), 0, 8, small.inclusion_proof(0), small.root())


def test_out_of_range_questions_are_refused() -> None:
    built = tree(ENTRIES)
    for ask in (
        lambda: built.root(9),
        lambda: built.inclusion_proof(8),
        lambda: built.inclusion_proof(0, 9),
        lambda: built.consistency_proof(0),
        lambda: built.consistency_proof(5, 4),
        lambda: verify_inclusion(b"", 3, 3, [], b""),
        lambda: verify_consistency(3, b"", 2, b"", []),
    ):
        with pytest.raises(LedgerError):
            ask()


def test_a_log_survives_reopening(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as log:
        assert [log.append({"kind": "start", "n": n}) for n in range(5)] == [0, 1, 2, 3, 4]
        root = log.root()
    with Ledger(path) as log:
        assert (log.size, log.root()) == (5, root)
        assert log.append({"kind": "more"}) == 5
        assert log.entries(4) == [{"kind": "start", "n": 4}, {"kind": "more"}]
        proof = [bytes.fromhex(step) for step in log.consistency_proof(5)]
        verify_consistency(5, bytes.fromhex(root), 6, bytes.fromhex(log.root()), proof)
        path_of = [bytes.fromhex(step) for step in log.inclusion_proof(5)]
        verify_inclusion(leaf_hash(b'{"kind":"more"}'), 5, 6, path_of, bytes.fromhex(log.root()))


def test_the_file_refuses_changes_and_deletions(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as log:
        log.append({"kind": "start"})
    connection = sqlite3.connect(path)
    for statement in ("UPDATE entries SET body = x'00'", "DELETE FROM entries"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


def test_several_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    logs = [Ledger(path) for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        positions = list(pool.map(lambda n: logs[n % 3].append({"n": n}), range(60)))
    assert sorted(positions) == list(range(60))
    assert len({log.root() for log in logs}) == 1
    assert sorted(entry["n"] for entry in logs[0].entries()) == list(range(60))
    for log in logs:
        log.close()


def test_a_rewritten_log_is_not_cosigned(tmp_path: Path) -> None:
    keeper, witness = SigningKey.generate(), SigningKey.generate()
    with Ledger(tmp_path / "true.sqlite") as log, Ledger(tmp_path / "forged.sqlite") as forged:
        for n in range(3):
            log.append({"n": n})
            forged.append({"n": n + 1})
        seen = open_document(log.checkpoint("node-a", NOW, keeper), Checkpoint, by=keeper.public)
        log.append({"n": 3})
        forged.append({"n": 4})
        later = log.checkpoint("node-a", NOW + timedelta(hours=1), keeper)
        cosigned = cosign(later, keeper.public, seen, log.consistency_proof(3), witness)
        assert open_document(cosigned, Checkpoint, by=witness.public).size == 4
        split_view = forged.checkpoint("node-a", NOW, keeper)
        with pytest.raises(LedgerError, match="was rewritten"):
            cosign(split_view, keeper.public, seen, forged.consistency_proof(3), witness)
        with pytest.raises(SignatureError):
            cosign(later, witness.public, seen, log.consistency_proof(3), witness)
        with pytest.raises(LedgerError, match="expected a checkpoint of node-a"):
            cosign(log.checkpoint("node-b", NOW, keeper), keeper.public, seen, [], witness)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "junk.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(LedgerError, match="not a database"):
        Ledger(tmp_path / "junk.sqlite")
    with Ledger(tmp_path / "gap.sqlite") as log:
        log.append({})
    connection = sqlite3.connect(tmp_path / "gap.sqlite")
    connection.execute("INSERT INTO entries VALUES (2, x'7b7d')")
    connection.commit()
    connection.close()
    with pytest.raises(LedgerError, match="entry 1 is missing"):
        Ledger(tmp_path / "gap.sqlite")
