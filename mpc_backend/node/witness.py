"""Nodes watch each other's logs: each cosigns the others' checkpoints once it has seen that a log only grew.

A log that was shortened or rewritten gets no further cosignature, and the witness says so in its own log.
"""

from __future__ import annotations

from typing import Literal

import structlog
from pydantic import Field
from sqlalchemy import delete

from governance.envelope import Envelope, open_document
from governance.errors import GovernanceError
from governance.ledger import Checkpoint, cosign
from mpc_backend.errors import PeerLost
from mpc_backend.node.core import NodeCore
from mpc_backend.node.database import CosignedRow, WitnessedRow, utc_now
from mpc_backend.node.rendezvous import Wire
from mpc_backend.transport.errors import FrameError, TransportError
from mpc_backend.transport.greeting import Connection, Dialer

SECONDS = 5.0
log = structlog.get_logger()


class WitnessGreeting(Wire):
    """Keeper to witness: here is how large my log is."""

    purpose: Literal["witness"] = "witness"
    size: int = Field(ge=0)


class WitnessSeen(Wire):
    """Witness to keeper: I have seen it at this size."""

    size: int = Field(ge=0)


class WitnessProof(Wire):
    """Keeper to witness: my signed checkpoint, and that it extends what you saw."""

    checkpoint: Envelope
    proof: list[str] = Field(max_length=128)


class WitnessAnswer(Wire):
    """Witness to keeper: the checkpoint with my signature too, or why not."""

    checkpoint: Envelope | None = None
    why: str = Field(default="", max_length=2000)


class Witness:
    """Both sides of cosigning at one node."""

    def __init__(self, core: NodeCore) -> None:
        self._core = core
        self._dialer = Dialer(
            core.index, core.trusted, core.directory.tls_certificate, core.directory.tls_key
        )

    def ask_all(self) -> Envelope:
        """Have this node's log cosigned by every node that answers; keeps and returns the checkpoint."""
        core = self._core
        size = core.ledger.size
        envelope = core.ledger.checkpoint(core.entry.id, utc_now(), core.identity)
        for peer in range(len(core.names)):
            if peer != core.index:
                envelope = self._ask(peer, envelope)
        with core.database.write() as session:
            session.execute(delete(CosignedRow))
            session.add(CosignedRow(size=size, envelope=envelope.canonical()))
        return envelope

    def _ask(self, peer: int, envelope: Envelope) -> Envelope:
        """One more signature, if this node answers and finds the log in order."""
        core, name = self._core, self._core.names[peer]
        size = open_document(envelope, Checkpoint, by=core.identity.public).size
        connection: Connection | None = None
        try:
            connection = self._dialer.dial(peer, core.federation.nodes[peer].data_address, SECONDS)
            connection.say(WitnessGreeting(size=size).model_dump(mode="json"))
            seen: WitnessSeen = WitnessSeen.read(connection.hear(SECONDS))
            proof = core.ledger.consistency_proof(seen.size, size) if 0 < seen.size < size else []
            connection.say(WitnessProof(checkpoint=envelope, proof=proof).model_dump(mode="json"))
            answer: WitnessAnswer = WitnessAnswer.read(connection.hear(SECONDS))
        except (PeerLost, TransportError, OSError) as error:
            log.info("witness not reached", witness=name, reason=str(error))
            return envelope
        finally:
            if connection is not None:
                connection.close()
        if answer.checkpoint is None or not self._extends(answer.checkpoint, envelope, peer):
            log.error("log not cosigned", witness=name, reason=answer.why)
            return envelope
        return answer.checkpoint

    def _extends(self, cosigned: Envelope, ours: Envelope, peer: int) -> bool:
        """Whether a witness returned our checkpoint with one more sound signature, its own."""
        try:
            open_document(cosigned, Checkpoint, by=self._core.federation.nodes[peer].identity_key)
        except GovernanceError:
            return False
        return cosigned.body == ours.body and cosigned.signatures[:-1] == ours.signatures

    def witnessed(self, connection: Connection, greeting: WitnessGreeting) -> None:
        """A peer asks this node to cosign its log."""
        node = self._core.federation.nodes[connection.peer]
        seen = self._seen(node.id)
        connection.say(WitnessSeen(size=0 if seen is None else seen.size).model_dump(mode="json"))
        offered: WitnessProof = WitnessProof.read(connection.hear(SECONDS))
        try:
            cosigned = cosign(offered.checkpoint, node.identity_key, seen, offered.proof, self._core.identity)
            checkpoint = open_document(cosigned, Checkpoint, by=node.identity_key)
            if checkpoint.origin != node.id:
                raise FrameError(f"a checkpoint of {checkpoint.origin}, offered by {node.id}")
        except (GovernanceError, FrameError, ValueError) as error:
            self._core.metrics.witness_refusals.inc()
            self._core.record(
                "log of a peer not cosigned", peer=node.id, seen=0 if seen is None else seen.size
            )
            connection.say(WitnessAnswer(why=str(error)[:2000]).model_dump(mode="json"))
            return
        with self._core.database.write() as session:
            session.merge(WitnessedRow(node=node.id, checkpoint=offered.checkpoint.canonical()))
        connection.say(WitnessAnswer(checkpoint=cosigned).model_dump(mode="json"))

    def _seen(self, node_id: str) -> Checkpoint | None:
        with self._core.database.read() as session:
            row = session.get(WitnessedRow, node_id)
        return (
            None if row is None else Checkpoint.from_canonical(Envelope.from_canonical(row.checkpoint).body)
        )
