"""One malicious node: whatever it changes in whichever message, the job aborts and nothing is opened.

Short operations are attacked in full: every kind of deviation on every message, once for all whose messages are alike in
number, round and sort. Of the others a sample is taken, the same every time; all together try every kind on every sort of
message from every node. `make tampering` does the rest (docs/tampering.md).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mpc_backend import operations as op
from mpc_backend.protocols.authenticate import Authenticator
from mpc_backend.testing import World
from mpc_backend.values import SecretBits, SecretFixed, SecretInt
from tests.mpc_backend.removal import remove
from tests.mpc_backend.tampering.attack import attacked
from tests.mpc_backend.tampering.kinds import KINDS, Case
from tests.mpc_backend.tampering.programs import ABOUT, FREE, METHODS, OPERATIONS, RESULTS, free, jobs
from tests.mpc_backend.tampering.recorded import SORTS, recorded

JOBS = jobs()
PAGE, COLUMNS = Path(__file__).parents[3] / "docs" / "tampering.md", 7
SHORT = 44
"""Most messages of an operation that is attacked in full."""
SAMPLE = 12
"""Cases of any other, and more where some kind, sort of message and node have not met yet."""


class Tried:
    """What the tests of this module have tried so far."""

    def __init__(self) -> None:
        self.existing: set[tuple[object, ...]] = set()
        self.tried: Counter[tuple[object, ...]] = Counter()
        self.traces: set[tuple[object, ...]] = set()
        self.names: set[str] = set()

    def choose(self, name: str, found: list[Case], *, whole: bool) -> list[Case]:
        """All cases, or a sample of them: so many, and what was not tried before."""
        self.names.add(name)
        met = [(case.kind, case.sort, case.liars) for case in found]
        self.existing |= set(met)
        chosen = []
        for place in np.random.default_rng(len(self.names)).permutation(len(found)).tolist():
            if whole or len(chosen) < SAMPLE or met[place] not in self.tried:
                self.tried[met[place]] += 1
                chosen.append(place)
        return [found[place] for place in sorted(chosen)]


@pytest.fixture(scope="module")
def so_far() -> Tried:
    return Tried()


def test_every_public_operation_is_attacked() -> None:
    assert set(OPERATIONS) | set(RESULTS) == set(op.__all__)
    assert set(RESULTS.values()) <= set(OPERATIONS)


@pytest.mark.parametrize("kind", [SecretInt, SecretFixed, SecretBits])
def test_every_method_of_a_secret_value_is_attacked_or_sends_nothing(kind: type) -> None:
    own = [vars(base) for base in kind.__mro__ if base.__module__.startswith("mpc_backend.values")]
    callables = {name for names in own for name, value in names.items() if callable(value) or name == "T"}
    callables |= {name for names in own for name, value in names.items() if isinstance(value, classmethod)}
    public = {name for name in callables if not name.startswith("_") or name.endswith("__")}
    attacked_ = {name.partition(".")[2] for name in METHODS if name.startswith(kind.__name__ + ".")}
    assert attacked_ | set(FREE[kind]) | ABOUT == public
    assert not attacked_ & set(FREE[kind])


def test_methods_said_to_send_nothing_send_nothing() -> None:
    sorts = {message.sort for message in recorded(free()).messages.values()}
    assert sorts == {"opened share", "opening's tag"}


@pytest.mark.parametrize("name", JOBS)
def test_altered_messages_abort(name: str, so_far: Tried, capsys: pytest.CaptureFixture[str]) -> None:
    job = JOBS[name]()
    messages = recorded(job).messages.values()
    trace = tuple((one.key, one.round, one.sort) for one in messages)
    whole = len(messages) <= SHORT and trace not in so_far.traces
    so_far.traces.add(trace)
    report = attacked(job, lambda found: so_far.choose(name, found, whole=whole))
    assert report.failures == []
    with capsys.disabled():
        print(
            f"\n{name}: {report.aborted} of {report.tried.total()} tampered runs aborted, {report.altered_nothing} altered "
            f"nothing; {report.chosen} of {report.chosen_of} cases on {report.messages} messages"
        )


def test_together_they_try_every_kind_on_every_sort_of_message_from_every_node(so_far: Tried) -> None:
    if so_far.names != set(JOBS):
        pytest.skip("only where all operations were attacked before")
    assert set(so_far.tried) == so_far.existing
    assert {kind for kind, _, _ in so_far.tried} == set(KINDS)
    assert {sort for _, sort, _ in so_far.tried} >= {*SORTS.values()} - {"opening"}
    assert {frozenset({node}) for node in range(4)} <= {liars for _, _, liars in so_far.tried}


def test_the_page_has_a_line_for_each_and_no_case_that_did_not_abort() -> None:
    rows = [
        line.split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")
    ]
    names = {row[0].removeprefix("| "): row for row in rows if len(row) == COLUMNS}
    assert set(JOBS) <= set(names)
    for name in JOBS:
        *_, cases, aborted, _ = names[name]
        assert cases == aborted


def test_what_no_check_stops_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = "sound &= hmac.compare_digest(tag, mac.tag())"
    remove(monkeypatch, Authenticator, "_compare_tags", compared, "mac.tag()")
    job = JOBS["SecretInt.__mul__, secret"]()
    report = attacked(job, lambda found: [case for case in found if case.kind in ("flip", "false tag")])
    assert any("no node noticed" in failure for failure in report.failures)
    assert any("opened something else" in failure or "no node" in failure for failure in report.failures)


def test_a_program_that_fails_at_one_node_fails_everywhere() -> None:
    def program(session: object, a: object) -> object:
        if session.index == 2:  # type: ignore[attr-defined]
            raise RuntimeError("disk full")
        return a * a  # type: ignore[operator]

    with World("rep4") as world, pytest.raises(RuntimeError, match="disk full"):
        world.run(program, world.share(np.arange(6)))
