"""Whose study is looked at next: investigators take turns, so that many studies of one do not delay the others'."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count

from governance.study import StudyProtocol


class Turns:
    """Remembers who had a turn last, from one round to the next; a restart begins anew."""

    def __init__(self) -> None:
        self._count = count()
        self._last: dict[str, int] = {}

    def take(self, studies: Iterable[StudyProtocol], most: int) -> Iterator[StudyProtocol]:
        """At most this many of the studies, which come oldest first: always the oldest of the investigator whose
        last turn is the longest ago.
        """
        waiting: dict[str, list[StudyProtocol]] = {}
        for study in studies:
            waiting.setdefault(study.investigator.key, []).append(study)
        for _ in range(most):
            if not waiting:
                return
            key = min(waiting, key=lambda one: self._last.get(one, -1))
            self._last[key] = next(self._count)
            yield waiting[key].pop(0)
            if not waiting[key]:
                del waiting[key]
