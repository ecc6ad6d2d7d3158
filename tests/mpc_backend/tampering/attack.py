"""Tampered runs, and what counts as caught.

Failures: every node comes to its end; an honest node opens or gives away anything but what it did in the honest run; any node
gets that far though the altered message precedes the verdicts; an honest node stops over anything but a failed check. Not a
failure: a message spoilt after the verdicts, for one node alone, may leave the others with the right result.

Quick operations are run anew for each case. Of others the process is copied where the case begins, and the copy goes on.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mpc_backend.errors import ProtocolAbort
from tests.mpc_backend.tampering.kinds import Case, cases
from tests.mpc_backend.tampering.nodes import Key
from tests.mpc_backend.tampering.recorded import Attackable, Draw, Observer, Recorded, Run, recorded

COPY_SECONDS = 0.035
"""Processor time from which on a run is begun where the case begins: a copy costs half of it."""
MOST_SECONDS = 100
"""Until a copy counts as one that does not end."""
NOTHING = "nothing that is sent was altered"
Choice = Callable[[list[Case]], list[Case]]


@dataclass
class Report:
    """How the cases of one operation ended."""

    messages: int
    chosen_of: int
    """How many cases there are."""
    chosen: int
    """How many of them were run: those that altered something are counted as tried."""
    altered_nothing: int
    tried: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By kind and by sort of message; all of them aborted but for ``failures``."""
    failures: list[str] = field(default_factory=list)

    @property
    def aborted(self) -> int:
        """How many cases ended as they must."""
        return self.tried.total() - len(self.failures)

    def add(self, case: Case, fault: str | None) -> None:
        """Count how a case ended."""
        if fault == NOTHING:
            self.altered_nothing += 1
            return
        self.tried[case.kind, case.sort] += 1
        if fault is not None:
            self.failures.append(f"{case}: {fault}")


class Deviating(Observer):
    """A run in which one case is tried."""

    def __init__(self, case: Case, record: Recorded) -> None:
        self._case, self._record = case, record
        self.draws = case.draw is not None
        self._first: int | None = None

    def sent(self, key: Key, payload: bytes, round_: int) -> bytes | None:
        change = self._case.changes.get(key)
        arriving = payload if change is None else change(payload)
        if self._first is None and key[0] in self._case.liars:
            honest = self._record.messages.get(key)
            if honest is None or arriving != honest.payload:
                self._first = round_
        return arriving

    def drawn(self, draw: Draw, out: np.ndarray[Any, Any]) -> None:
        if draw == self._case.draw:
            out.reshape(-1).view(np.uint8)[0] ^= 1

    def fault(self, run: Run) -> str | None:
        """What is wrong with how the run ended; `NOTHING` where all that was sent is what is sent in an honest run."""
        return NOTHING if self._first is None else fault_of(run, self._case, self._first, self._record)


class Copied(Observer):
    """The honest run again, which is copied where cases begin; in a copy, its case."""

    draws = True

    def __init__(self, record: Recorded, chosen: list[Case], report: Report) -> None:
        self._record, self._report = record, report
        self.deviating: Deviating | None = None
        self.tell_to = -1
        self._cases: dict[Key | Draw, list[Case]] = {}
        for case in chosen:
            self._cases.setdefault(case.begins, []).append(case)

    def sent(self, key: Key, payload: bytes, round_: int) -> bytes | None:
        self._try(key)
        return payload if self.deviating is None else self.deviating.sent(key, payload, round_)

    def drawn(self, draw: Draw, out: np.ndarray[Any, Any]) -> None:
        self._try(draw)
        if self.deviating is not None:
            self.deviating.drawn(draw, out)

    def _try(self, place: Key | Draw) -> None:
        """Try the cases that begin here, each in a copy, from which this returns with ``deviating`` set."""
        if self.deviating is not None:
            return
        for case in self._cases.get(place, ()):
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(MOST_SECONDS)
                self.deviating, self.tell_to = Deviating(case, self._record), writing
                return
            os.close(writing)
            with os.fdopen(reading, "rb") as pipe:
                told = pipe.read()
            _, status = os.waitpid(child, 0)
            self._report.add(case, pickle.loads(told) if told else f"the copy ended with status {status}")


def fault_of(run: Run, case: Case, first: int, record: Recorded) -> str | None:
    """What is wrong with the end of a tampered run whose first altered message was sent in round ``first``."""
    if not any(run.errors):
        return "no node noticed"
    for node, error in enumerate(run.errors):
        if node not in case.liars and error is not None and not isinstance(error, ProtocolAbort):
            return f"node {node} stopped over {error!r}"
    for node in range(len(run.errors)):
        steps = [step for step in run.released if step.node == node]
        honest = [step for step in record.released if step.node == node][: len(steps)]
        if node not in case.liars and [step.content for step in steps] != [step.content for step in honest]:
            return f"node {node} opened something else"
        if any(first < record.verdicts_before(step.round) for step in steps):
            return f"node {node} opened what followed an altered message"
    return None


def attacked(job: Attackable, choose: Choice | None = None) -> Report:
    """Try every case of a job, or those that ``choose`` takes of them."""
    record = recorded(job)
    found, nothing = cases(record)
    chosen = found if choose is None else choose(found)
    report = Report(len(record.messages), len(found), len(chosen), nothing)
    began = time.process_time()
    _honest(job.run(Observer()))
    if time.process_time() - began < COPY_SECONDS:
        for case in chosen:
            deviating = Deviating(case, record)
            report.add(case, deviating.fault(job.run(deviating)))
    else:
        _in_copies(job, Copied(record, chosen, report))
    return report


def _in_copies(job: Attackable, copied: Copied) -> None:
    gc.collect()
    gc.freeze()  # or every copy would write to all that is counted
    try:
        run = job.run(copied)
        if copied.deviating is not None:
            os.write(copied.tell_to, pickle.dumps(copied.deviating.fault(run)))
    finally:
        if copied.deviating is not None:
            os._exit(0)  # nothing of what is open here is the copy's to close
        gc.unfreeze()
    _honest(run)


def _honest(run: Run) -> None:
    for error in filter(None, run.errors):
        raise error


def sample(stride: int, seed: int = 0) -> Choice:
    """One case in ``stride``, and more: one for every kind and sort of message, kind and node, sort and node."""

    def choose(found: list[Case]) -> list[Case]:
        order = np.random.default_rng(seed).permutation(len(found))
        seen: set[tuple[str, str | frozenset[int]]] = set()
        chosen = []
        for place, at in enumerate(order.tolist()):
            case = found[at]
            covers = {(case.kind, case.sort), (case.kind, case.liars), (case.sort, case.liars)}
            if place % stride == 0 or not covers <= seen:
                chosen.append(at)
                seen |= covers
        return [found[at] for at in sorted(chosen)]

    return choose
