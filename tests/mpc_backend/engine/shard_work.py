"""What the tests of worker processes have done on shards; apart, so that a worker imports no more than this."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from mpc_backend.session import Session
from mpc_backend.shards import Total, over_shards
from mpc_backend.values import SecretInt


def judged(_: Session, a: SecretInt, least: SecretInt) -> tuple[Any, Total]:
    above = a >= least
    return above, Total((a * above).sum())


def judging(session: Session, a: SecretInt) -> list[Any]:
    """Rows are handed out twice, the second time with something that depends on the first."""
    _, total = over_shards(session, judged, [a], session.public([0]))
    above, again = over_shards(session, judged, [a + total * 0], session.public([7]))
    return [above, total, again]


def squared(_: Session, a: SecretInt) -> SecretInt:
    return a * a


def lost(session: Session, a: SecretInt) -> SecretInt:
    if session.index == 1 and len(a) != 512:
        os.kill(os.getpid(), signal.SIGKILL)
    return a * a


def failing(_: Session, a: SecretInt) -> SecretInt:
    if len(a) != 512:
        raise RuntimeError("it quotes 4711")
    return a * a


def slow(_: Session, a: SecretInt) -> SecretInt:
    time.sleep(180)
    return a * a
