"""A node's way out to the network, slowed down as a wide-area link would be: for measurements and rehearsals.

A token bucket without burst: messages leave one after another at the stated rate, whomever they go to, and each arrives
one delay later. The delay is one way, so that a round trip takes twice as long. Nothing else about a link changes.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Self

from mpc_backend.transport.errors import ShapeRefused

_PATTERN = re.compile(r"(?P<delay>\d+(\.\d+)?)ms,(?P<rate>\d+(\.\d+)?)Mbit")


@dataclass(frozen=True)
class LinkShape:
    """``delay``: seconds one way; ``rate``: bits a second that one node can send to all others together."""

    delay: float
    rate: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``20ms,200Mbit``.

        Raises:
            ShapeRefused: written otherwise, or no rate at all.
        """
        found = _PATTERN.fullmatch(text)
        if found is None or float(found["rate"]) == 0:
            raise ShapeRefused(
                f"cannot read {text!r} as the delay and the rate of a link; write it like 20ms,200Mbit"
            )
        return cls(float(found["delay"]) / 1000, float(found["rate"]) * 1e6)

    def part(self, channels: int) -> LinkShape:
        """What each of several channels gets that a node uses at one time."""
        return LinkShape(self.delay, self.rate / channels)


class Uplink:
    """When what one node sends arrives; without a shape, at once. Used by the one thread that sends."""

    def __init__(self, shape: LinkShape | None) -> None:
        self._shape = shape
        self._free = 0.0

    def arrival(self, size: int) -> float:
        """The moment (`time.monotonic`) at which the last of ``size`` bytes, sent now, arrives."""
        if self._shape is None:
            return 0.0
        self._free = max(self._free, time.monotonic()) + 8 * size / self._shape.rate
        return self._free + self._shape.delay


def wait_until(moment: float) -> None:
    """Sleep until then; returns at once where that is past."""
    left = moment - time.monotonic()
    if left > 0:
        time.sleep(left)
