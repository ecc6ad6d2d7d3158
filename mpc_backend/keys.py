"""Secrets of one start of one job: who shares which key, and how nodes agree on them.

Every start of a job draws new keys (reference: Fantastic Four, Dalskov, Escudero and Keller, USENIX Security
2021, needs one key for every group of nodes that holds a share, and one message authentication key for each
direction of a pair). Nothing here is written to disk and nothing is derived from an earlier job: a restart is
a new epoch with new keys, so a mask is never used twice.

The agreement has three rounds between every two nodes, over links whose certificates are already checked:

    offer    an ephemeral X25519 key, signed by the node's identity (Ed25519) together with the run, its
             epoch, the study, the federation, the software, the inputs and both certificates
    give     for each group of three or more that both belong to, 32 random bytes, encrypted under the key
             of the pair
    confirm  a keyed digest of each group's key (all members' bytes hashed together), which must be equal at
             all members
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from governance.errors import SignatureError
from governance.keys import verify_signature
from mpc_backend.transport.base import Transport
from mpc_backend.transport.errors import KeyAgreementError

Group = frozenset[int]
KEY_BYTES = 32
CONTEXT = b"tessera/job-keys/1"
_SIGNATURE_BYTES = 64


@dataclass(frozen=True)
class JobKeys:
    """The keys one node holds for one start of one job; never stored, never shown.

    ``groups``: 32 bytes for every set of two or more nodes that contains this one, known to exactly its
    members.
    ``mac_to`` / ``mac_from``: 32 bytes for each peer and direction, known to that pair. ``epoch``: equal at
    all nodes.
    """

    index: int
    nodes: int
    epoch: int
    groups: Mapping[Group, bytes] = field(repr=False)
    mac_to: Mapping[int, bytes] = field(repr=False)
    mac_from: Mapping[int, bytes] = field(repr=False)


@dataclass(frozen=True)
class JobBinding:
    """What the keys of a job are bound to; every node must name the same, else no key is agreed.

    ``epoch``: the number of this start of the run. All digests are 32 bytes. ``certificates``: SHA-256 of
    each node's TLS certificate (DER), by index. ``identities``: each node's Ed25519 public key (base64) from
    the federation file, by index.
    """

    run: bytes
    epoch: int
    study: bytes
    federation: bytes
    software: bytes
    inputs: bytes
    certificates: tuple[bytes, ...]
    identities: tuple[str, ...]


def groups_of(index: int, nodes: int) -> tuple[Group, ...]:
    """Every set of two or more of ``nodes`` nodes that contains node ``index``, smallest first."""
    return tuple(
        frozenset(members)
        for size in range(2, nodes + 1)
        for members in combinations(range(nodes), size)
        if index in members
    )


def keys_in_one_process(nodes: int) -> list[JobKeys]:
    """Fresh keys for nodes that all run in this process (tests, `World`, `tessera try`): no agreement is
    needed.
    """
    epoch = secrets.randbits(63)
    every = {group: secrets.token_bytes(KEY_BYTES) for i in range(nodes) for group in groups_of(i, nodes)}
    mac = {(i, j): secrets.token_bytes(KEY_BYTES) for i in range(nodes) for j in range(nodes) if i != j}
    return [
        JobKeys(
            index=i,
            nodes=nodes,
            epoch=epoch,
            groups={group: every[group] for group in groups_of(i, nodes)},
            mac_to={j: mac[i, j] for j in range(nodes) if j != i},
            mac_from={j: mac[j, i] for j in range(nodes) if j != i},
        )
        for i in range(nodes)
    ]


def agree_keys(
    index: int, binding: JobBinding, transport: Transport, sign: Callable[[bytes], bytes]
) -> JobKeys:
    """Agree on the keys of this start of a job with every other node.

    Args:
        index: this node.
        binding: what the keys are bound to, as this node sees it.
        transport: links to all other nodes, before any message of the protocol.
        sign: signs with this node's identity key.

    Raises:
        KeyAgreementError: a peer named another run, study, software or certificate, its signature is not that
            of the federation file, or its key of a group differs.
    """
    agreement = _Agreement(index, binding, transport, sign)
    agreement.offer()
    agreement.give()
    agreement.confirm()
    return agreement.keys()


class _Agreement:
    """The state of one node between the three rounds of `agree_keys`."""

    def __init__(
        self, index: int, binding: JobBinding, transport: Transport, sign: Callable[[bytes], bytes]
    ) -> None:
        self._index = index
        self._nodes = len(binding.identities)
        self._peers = [peer for peer in range(self._nodes) if peer != index]
        self._binding = binding
        self._transport = transport
        self._sign = sign
        self._pairs: dict[int, _PairSecrets] = {}
        self._given: dict[Group, dict[int, bytes]] = {}

    def offer(self) -> None:
        """Round 1: signed ephemeral keys; leaves one `_PairSecrets` for each peer."""
        private = {peer: X25519PrivateKey.generate() for peer in self._peers}
        sent = {peer: self._offer_to(peer, private[peer]) for peer in self._peers}
        for peer in self._peers:
            self._transport.send(peer, sent[peer])
        for peer in self._peers:
            message = bytes(self._transport.receive(peer))
            public = self._checked_offer(peer, message)
            secret = _exchange(private[peer], public, peer)
            both = (sent[peer], message) if self._index < peer else (message, sent[peer])
            self._pairs[peer] = _PairSecrets(secret, hashlib.sha256(b"".join(both)).digest())

    def _bound(self, sender: int, receiver: int) -> bytes:
        b = self._binding
        place = bytes([sender, receiver]) + b.epoch.to_bytes(8, "big")
        digests = (
            b.run,
            b.study,
            b.federation,
            b.software,
            b.inputs,
            b.certificates[sender],
            b.certificates[receiver],
        )
        return CONTEXT + place + b"".join(digests)

    def _offer_to(self, peer: int, private: X25519PrivateKey) -> bytes:
        public = private.public_key().public_bytes_raw()
        body = self._bound(self._index, peer) + public
        return body + self._sign(body)

    def _checked_offer(self, peer: int, message: bytes) -> bytes:
        """The peer's ephemeral public key, once everything it names equals what this node sees."""
        body, signature = message[:-_SIGNATURE_BYTES], message[-_SIGNATURE_BYTES:]
        bound, public = body[:-KEY_BYTES], body[-KEY_BYTES:]
        if bound != self._bound(peer, self._index):
            raise KeyAgreementError(
                f"node {peer} offers keys for another run, study, federation, software, set of inputs or "
                "pair of certificates"
            )
        try:
            verify_signature(self._binding.identities[peer], body, signature)
        except SignatureError as error:
            raise KeyAgreementError(
                f"the key offer of node {peer} is not signed by its identity in the federation file"
            ) from error
        return public

    def _wide_groups(self, peer: int) -> list[Group]:
        """Groups of three or more that hold both this node and ``peer``, in the order every node lists
        them.
        """
        wide = [g for g in groups_of(self._index, self._nodes) if len(g) > 2 and peer in g]
        return sorted(wide, key=lambda group: (len(group), sorted(group)))

    def give(self) -> None:
        """Round 2: this node's random part of each group's key, to each member."""
        mine = {g: secrets.token_bytes(KEY_BYTES) for g in groups_of(self._index, self._nodes) if len(g) > 2}
        self._given = {group: {self._index: part} for group, part in mine.items()}
        for peer in self._peers:
            parts = b"".join(mine[group] for group in self._wide_groups(peer))
            self._transport.send(peer, self._pairs[peer].encrypt(parts, self._index))
        for peer in self._peers:
            parts = self._pairs[peer].decrypt(bytes(self._transport.receive(peer)), peer)
            groups = self._wide_groups(peer)
            if len(parts) != KEY_BYTES * len(groups):
                raise KeyAgreementError(f"node {peer} gave {len(parts)} bytes for {len(groups)} group keys")
            for place, group in enumerate(groups):
                self._given[group][peer] = parts[place * KEY_BYTES : (place + 1) * KEY_BYTES]

    def _group_key(self, group: Group) -> bytes:
        if len(group) == 2:
            (peer,) = group - {self._index}
            return self._pairs[peer].derive(b"pair")
        parts = b"".join(self._given[group][member] for member in sorted(group))
        name = bytes(sorted(group))
        return _hkdf(parts, hashlib.sha256(self._bound(0, 0)).digest(), CONTEXT + b" group " + name)

    def confirm(self) -> None:
        """Round 3: all members of a group prove to each other that they hold the same key and epoch."""
        for peer in self._peers:
            self._transport.send(peer, self._proof(peer, by=self._index))
        for peer in self._peers:
            if not hmac.compare_digest(bytes(self._transport.receive(peer)), self._proof(peer, by=peer)):
                raise KeyAgreementError(
                    f"node {peer} holds other group keys than this node: the job has to stop"
                )

    def _proof(self, peer: int, *, by: int) -> bytes:
        keys = b"".join(self._group_key(group) for group in self._wide_groups(peer))
        message = CONTEXT + b" confirm" + bytes([by]) + hashlib.sha256(keys).digest()
        return hmac.digest(self._pairs[peer].derive(b"confirm"), message, "sha256")

    def keys(self) -> JobKeys:
        """All keys, once every round has passed."""
        return JobKeys(
            index=self._index,
            nodes=self._nodes,
            epoch=self._binding.epoch,
            groups={group: self._group_key(group) for group in groups_of(self._index, self._nodes)},
            mac_to={peer: self._pairs[peer].derive(_direction(self._index, peer)) for peer in self._peers},
            mac_from={peer: self._pairs[peer].derive(_direction(peer, self._index)) for peer in self._peers},
        )


class _PairSecrets:
    """What two nodes derive from their X25519 exchange; the salt is the digest of both signed offers."""

    def __init__(self, secret: bytes, transcript: bytes) -> None:
        self._secret = secret
        self._transcript = transcript

    def derive(self, purpose: bytes) -> bytes:
        return _hkdf(self._secret, self._transcript, CONTEXT + b" " + purpose)

    def encrypt(self, plaintext: bytes, sender: int) -> bytes:
        return AESGCM(self.derive(b"give" + bytes([sender]))).encrypt(bytes(12), plaintext, self._transcript)

    def decrypt(self, ciphertext: bytes, sender: int) -> bytes:
        try:
            key = self.derive(b"give" + bytes([sender]))
            return AESGCM(key).decrypt(bytes(12), ciphertext, self._transcript)
        except InvalidTag as error:
            raise KeyAgreementError(
                f"what node {sender} gave does not decrypt under the agreed key"
            ) from error


def _exchange(private: X25519PrivateKey, public: bytes, peer: int) -> bytes:
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise KeyAgreementError(f"node {peer} offers an X25519 key that gives no secret") from error


def _direction(sender: int, receiver: int) -> bytes:
    return b"mac" + bytes([sender, receiver])


def _hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(secret)
