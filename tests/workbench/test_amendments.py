"""What people see of a study that an amendment has replaced."""

from __future__ import annotations

import pytest

from governance.study import StudyProtocol
from tests.workbench.answering import Honest, node_set
from tests.workbench.conftest import Consortium
from workbench.asking import look
from workbench.parts.study_list import COLOURS
from workbench.runs import can_run
from workbench.store import now

SITES = ("north", "south", "west")


@pytest.mark.parametrize("signed", [SITES, SITES[:2]])
def test_a_replaced_study_says_by_which(consortium: Consortium, signed: tuple[str, ...]) -> None:
    first = consortium.study("count")
    later = StudyProtocol.from_yaml(first.to_yaml(), amends=first.digest)
    held = {
        first.digest: (first, consortium.envelopes(first, by=SITES)),
        later.digest: (later, consortium.envelopes(later, by=signed)),
    }
    with node_set(consortium.federation, Honest(held), {}) as nodes:
        seen = look(nodes, now())
    old, new = seen.study(first.digest), seen.study(later.digest)
    assert old is not None
    assert new is not None
    replaced = signed == SITES
    assert (old.state, new.state) == (
        ("replaced", "approved") if replaced else ("approved", "awaiting approval")
    )
    assert (later.digest[:12] in old.why) == replaced
    key = consortium.researcher.signing.public
    assert (can_run(old, first.analyses[0], key, "researcher") is None) != replaced
    assert old.state in COLOURS
