"""Deferred authentication of what nodes receive, with one barrier for all.

Every value a node receives was computable by a second sender, the *verifier* of that message. Both run a streaming GMAC
(NIST SP 800-38D) over the same bytes, under a key that only these two hold; nothing travels until the barrier:

    round 1   each receiver sends its tag to the verifier, who compares
    round 2   each node sends every other node its share of zero if all its comparisons held, else random bytes;
              a node goes on only if the shares it got, one from each, sum to zero

Tags go from receiver to verifier and never back, and verdicts travel blinded: a malicious node that spoilt an early message
could otherwise guess how the error propagated, and learn from a second node's tag or verdict whether the guess, a
function of a secret, was right. The receiver's tag tells the verifier nothing: it can compute itself what its own errors
made of a message it could have sent. With the blinding a node learns one thing, that some comparison failed. A forged
message passes with probability below (blocks of 16 bytes) / 2^128, a forged verdict with 2^-128.
"""

from __future__ import annotations

import hmac
import secrets

import numpy as np
from cryptography.hazmat.primitives.ciphers import AEADEncryptionContext, Cipher, algorithms, modes

from mpc_backend.errors import ProtocolAbort
from mpc_backend.kernels.arrays import Words
from mpc_backend.prg import Keystream
from mpc_backend.protocols.keys import JobKeys
from mpc_backend.transport.base import Transport

TAG_BYTES = 16
DEFERRED, OPENING = 1, 2
"""First byte of the nonce: streams checked at barriers, and openings checked at once."""


class Mac:
    """Streaming GMAC for one ordered pair; a fresh 96-bit nonce for every tag: domain (1) || zero (3) || counter (8)."""

    def __init__(self, key: bytes, domain: int) -> None:
        self._algorithm = algorithms.AES(key)
        self._domain, self._counter = domain, 0
        self._context: AEADEncryptionContext | None = None

    def update(self, words: Words) -> None:
        """Add bytes to the current stream."""
        if self._context is None:
            self._counter += 1
            nonce = bytes([self._domain, 0, 0, 0]) + self._counter.to_bytes(8, "big")
            self._context = Cipher(self._algorithm, modes.GCM(nonce)).encryptor()
        self._context.authenticate_additional_data(words.reshape(-1).view(np.uint8).data)

    @property
    def pending(self) -> bool:
        """Whether bytes were added since the last tag."""
        return self._context is not None

    def tag(self) -> bytes:
        """The tag of the stream since the last one."""
        if self._context is None:
            raise ValueError("there is no stream to make a tag of")
        self._context.finalize()
        tag, self._context = self._context.tag, None
        return bytes(tag)


class Authenticator:
    """One node's side of all deferred checks."""

    def __init__(self, transport: Transport, keys: JobKeys) -> None:
        self._transport, me = transport, transport.index
        self._received = {v: Mac(keys.mac[(v, me)], DEFERRED) for v in transport.peers}
        self._expected = {r: Mac(keys.mac[(me, r)], DEFERRED) for r in transport.peers}
        self._pair = {peer: Keystream(keys.pair[peer]) for peer in transport.peers}

    def received(self, verifier: int, words: Words) -> None:
        """This node received words that ``verifier`` can check."""
        self._received[verifier].update(words)

    def expected(self, receiver: int, words: Words) -> None:
        """``receiver`` should receive these words from another node."""
        self._expected[receiver].update(words)

    def barrier(self, step: int) -> None:
        """Check everything since the last barrier; raises ProtocolAbort at every node if any comparison failed."""
        sound = self._compare_tags()
        self._agree(sound, step)

    def _compare_tags(self) -> bool:
        transport = self._transport
        for verifier, mac in self._received.items():
            if mac.pending:
                transport.send(verifier, mac.tag())
        transport.traffic.rounds += 1
        sound = True
        for receiver, mac in self._expected.items():
            if mac.pending:
                tag = bytes(transport.receive(receiver))
                sound &= hmac.compare_digest(tag, mac.tag())
        return sound

    def _agree(self, sound: bool, step: int) -> None:
        transport = self._transport
        blinded = self._zero_shares(step)
        for peer, share in blinded.items():
            transport.send(peer, share if sound else secrets.token_bytes(TAG_BYTES))
        transport.traffic.rounds += 1
        total = 0
        for peer in transport.peers:
            share = bytes(transport.receive(peer))
            if len(share) != TAG_BYTES:
                raise ProtocolAbort(
                    f"node {transport.index}: a verdict of {len(share)} bytes from node {peer}"
                )
            total ^= int.from_bytes(share, "big")
        if not sound or total:
            raise ProtocolAbort(
                f"node {transport.index}: a message between nodes failed its check; nothing was opened"
            )

    def _zero_shares(self, step: int) -> dict[int, bytes]:
        """For each receiver, this node's part of an XOR sharing of zero among the senders to that receiver."""
        me, peers = self._transport.index, self._transport.peers
        shares = dict.fromkeys(peers, 0)
        for partner in peers:
            self._pair[partner].begin(step)
            for receiver in range(self._transport.nodes):
                if receiver in (me, partner):
                    continue
                block = self._pair[partner].words((TAG_BYTES,), np.dtype(np.uint8))
                shares[receiver] ^= int.from_bytes(block.tobytes(), "big")
        return {receiver: share.to_bytes(TAG_BYTES, "big") for receiver, share in shares.items()}
