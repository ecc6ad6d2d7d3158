"""The keys of one node in one job: made fresh, used for that job alone, never written to disk."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from mpc_backend.prg import KEY_BYTES


@dataclass(frozen=True, repr=False)
class JobKeys:
    """AES-128 keys of 16 bytes.

    ``everyone``: known to all nodes, for masks that must not depend on who computes.
    ``everyone_but[j]``: known to all nodes but j (this node has those of every j but itself).
    ``pair[p]``: known to this node and p, for randomness.
    ``mac[(v, r)]``: authenticates what receiver r got, towards v who knows what it should be; only those two hold it,
    so a node has the keys of the ordered pairs it is part of.
    """

    everyone: bytes
    everyone_but: Mapping[int, bytes]
    pair: Mapping[int, bytes]
    mac: Mapping[tuple[int, int], bytes]

    def derived(self, part: bytes) -> JobKeys:
        """Keys for one part of the job (HKDF-SHA256, RFC 5869, the keys being uniform). Nodes that name the same part
        share the same keys; those of different parts tell nothing of each other.
        """

        def key(root: bytes) -> bytes:
            return HKDFExpand(algorithm=SHA256(), length=KEY_BYTES, info=b"tessera/part/1 " + part).derive(
                root
            )

        return JobKeys(
            key(self.everyone),
            {j: key(root) for j, root in self.everyone_but.items()},
            {p: key(root) for p, root in self.pair.items()},
            {pair: key(root) for pair, root in self.mac.items()},
        )


def random_keys(nodes: int) -> list[JobKeys]:
    """Keys for all nodes of a job that runs in one process."""
    everyone = secrets.token_bytes(KEY_BYTES)
    but = {j: secrets.token_bytes(KEY_BYTES) for j in range(nodes)}
    pairs = {frozenset(p): secrets.token_bytes(KEY_BYTES) for p in permutations(range(nodes), 2)}
    macs = {p: secrets.token_bytes(KEY_BYTES) for p in permutations(range(nodes), 2)}
    return [
        JobKeys(
            everyone,
            {j: key for j, key in but.items() if j != node},
            {peer: pairs[frozenset((node, peer))] for peer in range(nodes) if peer != node},
            {pair: key for pair, key in macs.items() if node in pair},
        )
        for node in range(nodes)
    ]
