"""Merkle trees as in RFC 6962 section 2: hashes, inclusion proofs, consistency proofs, and their checks.

Leaf: SHA-256(0x00 || entry). Node: SHA-256(0x01 || left || right). Empty tree: SHA-256 of nothing. A tree of
n leaves splits at the largest power of two below n. Proof checks follow RFC 9162 sections 2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from governance.errors import LedgerError

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """An append-only tree over leaf hashes; complete subtrees are remembered, so a root costs O(log n)
    hashes."""

    def __init__(self) -> None:
        self._levels: list[list[bytes]] = [[]]

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash and every complete subtree it finishes."""
        self._levels[0].append(leaf)
        level = 0
        while len(self._levels[level]) % 2 == 0:
            if level + 1 == len(self._levels):
                self._levels.append([])
            left, right = self._levels[level][-2:]
            self._levels[level + 1].append(node_hash(left, right))
            level += 1

    def root(self, size: int | None = None) -> bytes:
        """Root over the first ``size`` leaves (all of them by default)."""
        size = len(self) if size is None else size
        if not 0 <= size <= len(self):
            raise LedgerError(f"the log has {len(self)} entries; there is no root of {size}")
        return self._subtree(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """PATH(index, D[size]): siblings from the leaf upwards."""
        size = len(self) if size is None else size
        if not 0 <= index < size <= len(self):
            raise LedgerError(f"no entry {index} in a log of {size} entries (it has {len(self)})")
        return self._path(index, 0, size)

    def consistency_proof(self, old: int, size: int | None = None) -> list[bytes]:
        """PROOF(old, D[size]): that the first ``old`` entries of both trees are the same."""
        size = len(self) if size is None else size
        if not 0 < old <= size <= len(self):
            raise LedgerError(f"no consistency proof from {old} to {size} entries (the log has {len(self)})")
        return self._subproof(old, 0, size, True)

    def _subtree(self, start: int, size: int) -> bytes:
        if size & (size - 1) == 0:
            level = size.bit_length() - 1
            return self._levels[level][start >> level]
        split = _split(size)
        return node_hash(self._subtree(start, split), self._subtree(start + split, size - split))

    def _path(self, index: int, start: int, size: int) -> list[bytes]:
        if size == 1:
            return []
        split = _split(size)
        if index < split:
            return [*self._path(index, start, split), self._subtree(start + split, size - split)]
        return [*self._path(index - split, start + split, size - split), self._subtree(start, split)]

    def _subproof(self, old: int, start: int, size: int, whole: bool) -> list[bytes]:
        if old == size:
            return [] if whole else [self._subtree(start, size)]
        split = _split(size)
        if old <= split:
            return [*self._subproof(old, start, split, whole), self._subtree(start + split, size - split)]
        right = self._subproof(old - split, start + split, size - split, False)
        return [*right, self._subtree(start, split)]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that ``leaf`` is entry ``index`` of the tree of ``size`` entries with this root.

    Raises:
        LedgerError: it is not.
    """
    if not 0 <= index < size:
        raise LedgerError(f"entry {index} cannot be in a log of {size} entries")
    position, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise LedgerError("the inclusion proof is too long")
        if position & 1 or position == last:
            found = node_hash(sibling, found)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        position, last = position >> 1, last >> 1
    if last != 0 or found != root:
        raise LedgerError(f"entry {index} is not in the log of {size} entries with root {root.hex()[:12]}")


def verify_consistency(
    old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that a log only grew between two roots.

    Raises:
        LedgerError: it was rewritten, shrank, or the proof is wrong.
    """
    if old_size == 0:
        return
    forked = LedgerError(
        f"the log of {size} entries does not extend the one of {old_size} entries: it was rewritten"
    )
    if old_size > size or (old_size == size and (old_root != root or proof)):
        raise forked
    if old_size == size:
        return
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not path:
        raise forked
    position, last = old_size - 1, size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old_found = found = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise forked
        if position & 1 or position == last:
            old_found, found = node_hash(sibling, old_found), node_hash(sibling, found)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        position, last = position >> 1, last >> 1
    if last != 0 or old_found != old_root or found != root:
        raise forked


def _split(size: int) -> int:
    """The largest power of two smaller than ``size``."""
    return 1 << ((size - 1).bit_length() - 1)
