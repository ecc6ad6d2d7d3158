"""The key agreement that precedes every run, as a job to be attacked: what it gives away is each node's keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from governance.keys import SigningKey
from mpc_backend import keys
from mpc_backend.keys import JobBinding, agree_keys
from mpc_backend.protocols.keys import JobKeys
from tests.mpc_backend.tampering.nodes import Link, Nodes
from tests.mpc_backend.tampering.recorded import NODES, Observer, Run, Step


class Agreement:
    """Every run of it draws the same secrets and so sends the same messages."""

    def __init__(self) -> None:
        self._identities = [SigningKey.generate() for _ in range(NODES)]
        draw = np.random.default_rng(0).bytes
        self._binding = JobBinding(
            run=draw(32),
            epoch=1,
            study=draw(32),
            federation=draw(32),
            software=draw(32),
            inputs=draw(32),
            certificates=tuple(draw(32) for _ in range(NODES)),
            identities=tuple(key.public for key in self._identities),
        )

    def run(self, observer: Observer) -> Run:
        """All nodes from the first offer to the last proof."""
        released: list[Step] = []

        def node(link: Link) -> None:
            agreed = agree_keys(link.index, self._binding, link, self._identities[link.index].sign)
            released.append(Step(link.index, link.traffic.rounds, _all(agreed)))

        with _drawn_again():
            return Run(Nodes(NODES, observer).run([node] * NODES), released)


def _all(agreed: JobKeys) -> list[object]:
    groups = (agreed.everyone_but, agreed.pair, agreed.mac)
    return [agreed.everyone, *(sorted(group.items()) for group in groups)]


@contextmanager
def _drawn_again() -> Iterator[None]:
    draw: Callable[[int], bytes] = np.random.default_rng(1).bytes
    exchange = SimpleNamespace(generate=lambda: X25519PrivateKey.from_private_bytes(draw(32)))
    source = SimpleNamespace(token_bytes=draw)
    with patch.object(keys, "secrets", source), patch.object(keys, "X25519PrivateKey", exchange):
        yield
