"""A connector and the versions of a study: it judges from signed documents which one is in force."""

from __future__ import annotations

import pytest

from governance.approval import SiteDecision
from governance.envelope import sign_document
from governance.errors import Superseded
from governance.run_request import Spent
from governance.study import StudyProtocol
from site_connector.errors import DecisionRefused
from site_connector.leaving import columns_leaving
from site_connector.mailbox import Mailbox
from site_connector.models import StudyState
from site_connector.review import review_page
from tests.site_connector.consortium import NODES, PASSPHRASE, SITES, Consortium


def approve(consortium: Consortium, study: StudyProtocol, *sites: str) -> None:
    """These hospitals' signatures, at all nodes."""
    for site in sites or study.sites:
        said = SiteDecision(
            study_digest=study.digest,
            site=site,
            decision="approve",
            decided_at=consortium.now,
            columns=columns_leaving(study),
        )
        envelope = sign_document(said, consortium.sites[site].steward(PASSPHRASE))
        for node in consortium.nodes:
            node.post_statement(study.digest, envelope)


def state(consortium: Consortium, mailbox: Mailbox, study: StudyProtocol) -> StudyState:
    return mailbox.item(study.digest, consortium.now).state


def test_only_the_amended_version_is_uploaded_for(loaded: Consortium) -> None:
    first = loaded.submit(loaded.study())
    approve(loaded, first)
    later = loaded.submit(loaded.study(amends=first.digest, budget={"runs": 9}))
    approve(loaded, later)
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        assert {one.study for one in mailbox.uploads()} == {later.digest}
        assert state(loaded, mailbox, first) is StudyState.REPLACED
        assert state(loaded, mailbox, later) is StudyState.ACTIVE
        with pytest.raises(Superseded, match=f"replaced by its amendment {later.digest[:12]}"):
            connector.upload(first)


def test_an_amendment_that_one_hospital_has_not_signed_replaces_nothing(loaded: Consortium) -> None:
    first = loaded.submit(loaded.study())
    approve(loaded, first)
    later = loaded.submit(loaded.study(amends=first.digest, budget={"runs": 9}))
    approve(loaded, later, "north", "south")
    with loaded.mailbox() as mailbox:
        loaded.connector(mailbox).round()
        assert {one.study for one in mailbox.uploads()} == {first.digest}
        assert state(loaded, mailbox, first) is StudyState.ACTIVE


def test_what_was_sealed_for_a_replaced_version_is_held_back(loaded: Consortium) -> None:
    first = loaded.submit(loaded.study())
    last = loaded.nodes[3]
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        approve(loaded, first)
        connector.round()
        assert [one.state for one in mailbox.uploads()] == ["delivered"]
        second = loaded.submit(loaded.study(amends=first.digest, budget={"runs": 9}))
        approve(loaded, second)
        last.down = True
        connector.round()
        assert [one.delivered_to for one in mailbox.uploads(second.digest)] == [NODES[:3]]
        last.down = False
        third = loaded.submit(loaded.study(amends=second.digest, budget={"runs": 8}))
        approve(loaded, third)
        connector.round()
        assert {study for study, _, _ in last.uploads} == {first.digest, third.digest}
        assert state(loaded, mailbox, second) is StudyState.REPLACED


def test_no_run_is_answered_under_a_replaced_feasibility_study(loaded: Consortium) -> None:
    first = loaded.submit(loaded.feasibility())
    approve(loaded, first)
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        loaded.request(first)
        connector.round()
        later = loaded.submit(loaded.feasibility(amends=first.digest))
        approve(loaded, later)
        loaded.request(first)
        asked = loaded.request(later)
        connector.round()
        assert mailbox.spent(first.digest).runs == 1
        assert [one.run for one in mailbox.uploads(later.digest)] == [asked.run_id]


def test_a_replaced_version_is_not_approved_any_more(loaded: Consortium) -> None:
    first = loaded.submit(loaded.study())
    later = loaded.submit(loaded.study(amends=first.digest, budget={"runs": 9}))
    approve(loaded, later)
    with loaded.mailbox() as mailbox:
        loaded.connector(mailbox).round()
        with pytest.raises(DecisionRefused, match=rf"replaced by an amendment \({later.digest[:12]}\)"):
            loaded.desk(mailbox).approve(first.digest, loaded.steward, loaded.now)
        item, settings = mailbox.item(first.digest, loaded.now), loaded.north.settings()
    page = review_page(loaded.federation, settings, item, Spent(), loaded.now)
    (verdict,) = [one for one in page.verdicts if not one.holds]
    assert verdict.detail == f"replaced by {later.digest}"


def test_a_hospital_left_out_of_an_amendment_judges_it_too(loaded: Consortium) -> None:
    """Also over a version between that was never approved, and after a restart with no node left that tells."""
    first = loaded.submit(loaded.study())
    without = {"sites": list(SITES[1:]), "disclosure": {"minimum_sites": 2}}
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        between = loaded.submit(loaded.study(amends=first.digest, **without))
        later = loaded.submit(loaded.study(amends=between.digest, **without))
        unrelated = loaded.submit(loaded.study(amends="0" * 64, **without))
        approve(loaded, later)
        for _ in range(2):
            connector.round()
        assert state(loaded, mailbox, first) is StudyState.REPLACED
        assert [item.digest for item in mailbox.inbox(loaded.now)] == [first.digest], (
            "north has no part in it"
        )
        assert mailbox.dry_run_snapshots().keys() == {first.digest}
    for node in loaded.nodes:
        for one in (between, later, unrelated):
            del node.studies_held[one.digest]
    approve(loaded, first)
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        assert mailbox.uploads() == []
        with pytest.raises(Superseded):
            connector.upload(first)


def test_an_amendment_that_has_ended_opens_nothing_again(loaded: Consortium) -> None:
    """A version that leaves us out can end before the one it replaced would."""
    first = loaded.submit(loaded.study())
    approve(loaded, first)
    ended = loaded.submit(
        loaded.study(
            amends=first.digest,
            sites=list(SITES[1:]),
            disclosure={"minimum_sites": 2},
            validity={"not_before": "2026-01-01T00:00:00Z", "not_after": "2026-05-01T00:00:00Z"},
        )
    )
    approve(loaded, ended)
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        for _ in range(2):
            connector.round()
        assert state(loaded, mailbox, first) is StudyState.REPLACED


def test_an_approval_under_another_key_leaves_the_version_open(loaded: Consortium) -> None:
    first = loaded.submit(loaded.study())
    approve(loaded, first)
    own = loaded.investigator
    loaded.investigator = loaded.researcher
    foreign = loaded.submit(loaded.study(amends=first.digest, budget={"runs": 9}))
    loaded.investigator = own
    approve(loaded, foreign)
    with loaded.mailbox() as mailbox:
        loaded.connector(mailbox).round()
        assert state(loaded, mailbox, first) is StudyState.ACTIVE
        assert {one.study for one in mailbox.uploads()} == {first.digest, foreign.digest}


def test_a_node_that_withholds_an_amendment_is_outvoted_by_one_that_has_it(loaded: Consortium) -> None:
    first = loaded.submit(loaded.study())
    approve(loaded, first)
    later = loaded.submit(loaded.study(amends=first.digest, budget={"runs": 9}))
    approve(loaded, later)
    for node in loaded.nodes[:3]:
        del node.studies_held[later.digest]
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        assert state(loaded, mailbox, first) is StudyState.REPLACED
        assert first.digest not in {one.study for one in mailbox.uploads()}
