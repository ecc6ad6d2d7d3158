"""Secrets of one start of one job: who shares which key, and how nodes agree on them.

Every start of a job draws new keys (reference: Fantastic Four, Dalskov, Escudero and Keller, USENIX Security
2021, needs one key for every group of nodes that holds a share, and one message authentication key for each
direction of a pair). Nothing here is written to disk and nothing is derived from an earlier job: a restart is
a new epoch with new keys, so a mask is never used twice.

The agreement has three rounds between every two nodes, over links whose certificates are already checked:

    offer    an ephemeral X25519 key, signed by the node's identity (Ed25519) together with the run, its
             epoch, the study, the federation, the software, the inputs and both certificates
    give     32 random bytes towards the key of everybody, and for each third node towards the key of
             everybody but that node, encrypted under the key of the pair
    confirm  a keyed digest of the keys that both hold (all members' bytes hashed together), which must be
             equal
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from governance.errors import SignatureError
from governance.keys import verify_signature
from mpc_backend.prg import KEY_BYTES
from mpc_backend.protocols.keys import JobKeys
from mpc_backend.transport.base import Transport
from mpc_backend.transport.errors import KeyAgreementError

GIVEN_BYTES = 32
CONTEXT = b"tessera/job-keys/1"
_PUBLIC_BYTES = 32
_SIGNATURE_BYTES = 64


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
            of the federation file, or a key that both hold differs.
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
        self._given: dict[int | None, dict[int, bytes]] = {}

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
        bound, public = body[:-_PUBLIC_BYTES], body[-_PUBLIC_BYTES:]
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

    def _left_out(self, peer: int) -> list[int | None]:
        """Whom each key leaves out that this node and ``peer`` both hold: a third node, or nobody (None)."""
        return [None, *(node for node in self._peers if node != peer)]

    def give(self) -> None:
        """Round 2: this node's random part of every key of a group of nodes, to each other holder."""
        mine = {out: secrets.token_bytes(GIVEN_BYTES) for out in (None, *self._peers)}
        self._given = {out: {self._index: part} for out, part in mine.items()}
        for peer in self._peers:
            parts = b"".join(mine[out] for out in self._left_out(peer))
            self._transport.send(peer, self._pairs[peer].encrypt(parts, self._index))
        for peer in self._peers:
            parts = self._pairs[peer].decrypt(bytes(self._transport.receive(peer)), peer)
            left_out = self._left_out(peer)
            if len(parts) != GIVEN_BYTES * len(left_out):
                raise KeyAgreementError(f"node {peer} gave {len(parts)} bytes for {len(left_out)} keys")
            for place, out in enumerate(left_out):
                self._given[out][peer] = parts[place * GIVEN_BYTES : (place + 1) * GIVEN_BYTES]

    def _group_key(self, left_out: int | None) -> bytes:
        """The key of everybody, or of everybody but one."""
        parts = b"".join(self._given[left_out][member] for member in sorted(self._given[left_out]))
        place = 0 if left_out is None else left_out
        salt = hashlib.sha256(self._bound(place, place)).digest()
        purpose = b" everyone" if left_out is None else b" everyone but " + bytes([left_out])
        return _hkdf(parts, salt, CONTEXT + purpose)

    def confirm(self) -> None:
        """Round 3: any two nodes prove to each other that they hold the same keys."""
        for peer in self._peers:
            self._transport.send(peer, self._proof(peer, by=self._index))
        for peer in self._peers:
            if not hmac.compare_digest(bytes(self._transport.receive(peer)), self._proof(peer, by=peer)):
                raise KeyAgreementError(f"node {peer} holds other keys than this node; the job has to stop")

    def _proof(self, peer: int, *, by: int) -> bytes:
        keys = b"".join(self._group_key(out) for out in self._left_out(peer))
        message = CONTEXT + b" confirm" + bytes([by]) + hashlib.sha256(keys).digest()
        return hmac.digest(self._pairs[peer].derive(b"confirm"), message, "sha256")

    def keys(self) -> JobKeys:
        """All keys, once every round has passed."""
        me = self._index
        mac = {(me, peer): self._pairs[peer].derive(_direction(me, peer)) for peer in self._peers}
        mac |= {(peer, me): self._pairs[peer].derive(_direction(peer, me)) for peer in self._peers}
        return JobKeys(
            everyone=self._group_key(None)[:KEY_BYTES],
            everyone_but={j: self._group_key(j)[:KEY_BYTES] for j in self._peers},
            pair={peer: self._pairs[peer].derive(b"pair")[:KEY_BYTES] for peer in self._peers},
            mac={pair: key[:KEY_BYTES] for pair, key in mac.items()},
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
    return HKDF(algorithm=SHA256(), length=GIVEN_BYTES, salt=salt, info=info).derive(secret)
