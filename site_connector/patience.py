"""How long one round goes on with one node, so that a slow node does not keep the round from the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import structlog

SECONDS_FOR_A_NODE = 60.0
"""How long one round goes on asking one node for what is new there, and as long again handing things over to it."""

log = structlog.get_logger()


class Patience:
    """Counts the time that calls of each node take in one round."""

    def __init__(self) -> None:
        self._taken: defaultdict[str, float] = defaultdict(float)

    def begin(self) -> None:
        """Every node has all its time again."""
        self._taken.clear()

    def over(self, node: str) -> bool:
        """Whether the node has used its time; what it lacks is handed over in the next round."""
        return self._taken[node] > SECONDS_FOR_A_NODE

    @contextmanager
    def calling(self, node: str) -> Iterator[None]:
        """Count the time of one call."""
        began = monotonic()
        try:
            yield
        finally:
            self._taken[node] += monotonic() - began
            if self.over(node):
                log.warning("node is slow, it is given the rest in the next round", node=node)
