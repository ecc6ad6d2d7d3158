"""Exact numbers: only from a hospital whose own settings say that it holds no patients' data."""

from __future__ import annotations

import pytest

from governance.approval import SiteDecision
from governance.envelope import sign_document
from governance.study import StudyProtocol
from site_connector.errors import DecisionRefused, NodesUnreachable
from site_connector.leaving import columns_leaving
from site_connector.mailbox import Mailbox
from site_connector.models import InboxItem
from site_connector.review import Verdict, review_page
from tests.site_connector.consortium import Consortium

EXACT = {"disclosure": {"release": "exact"}, "synthetic_data": True}
FAULT = r"releases exact numbers.*site.toml does not say"


def say_synthetic(consortium: Consortium) -> None:
    with consortium.north.settings_file.open("a") as settings:
        settings.write("synthetic_data = true\n")


def verdict(consortium: Consortium, mailbox: Mailbox, item: InboxItem) -> Verdict:
    settings = consortium.north.settings()
    page = review_page(consortium.federation, settings, item, mailbox.spent(item.digest), consortium.now)
    (found,) = [one for one in page.verdicts if one.what == "The data loaded here are synthetic or public"]
    assert page.may_approve == found.holds
    return found


@pytest.mark.parametrize("kind", ["protocol", "feasibility"])
def test_exact_numbers_of_patients_are_neither_approved_nor_uploaded(loaded: Consortium, kind: str) -> None:
    study = loaded.submit(loaded.study(**EXACT) if kind == "protocol" else loaded.feasibility(**EXACT))
    loaded.others_approve(study)
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        item = mailbox.item(study.digest, loaded.now)
        assert item.dry_run is not None
        (problem,) = item.dry_run.problems
        assert "releases exact numbers" in problem
        assert not verdict(loaded, mailbox, item).holds
        with pytest.raises(DecisionRefused, match=FAULT):
            loaded.desk(mailbox).approve(study.digest, loaded.steward, loaded.now)
        approve_by_hand(loaded, study)
        loaded.request(study)
        connector.round()
        assert mailbox.uploads() == []
        assert "releases exact numbers" in mailbox.item(study.digest, loaded.now).note
        with pytest.raises(DecisionRefused, match=FAULT):
            connector.upload(study)
        assert loaded.desk(mailbox).withdraw(study.digest, loaded.steward, loaded.now).note


def approve_by_hand(consortium: Consortium, study: StudyProtocol) -> None:
    """An approval that was signed with other software."""
    said = SiteDecision(
        study_digest=study.digest,
        site="north",
        decision="approve",
        decided_at=consortium.now,
        columns=columns_leaving(study),
    )
    for node in consortium.nodes:
        node.post_statement(study.digest, sign_document(said, consortium.steward))


def test_synthetic_data_may_be_released_exactly_once_the_site_says_so(loaded: Consortium) -> None:
    study = loaded.submit(loaded.study(**EXACT))
    loaded.others_approve(study)
    plain = loaded.north.settings_file.read_text()
    with loaded.mailbox() as mailbox:
        loaded.connector(mailbox).round()
        say_synthetic(loaded)
        connector = loaded.connector(mailbox)
        connector.round()
        item = mailbox.item(study.digest, loaded.now)
        assert item.dry_run is not None
        assert item.dry_run.problems == (), "the dry run is made anew after a start"
        assert verdict(loaded, mailbox, item).holds
        loaded.north.settings_file.write_text(plain)
        with pytest.raises(DecisionRefused, match=FAULT):
            loaded.desk(mailbox).approve(study.digest, loaded.steward, loaded.now)
        say_synthetic(loaded)
        loaded.desk(mailbox).approve(study.digest, loaded.steward, loaded.now)
        connector.round()
        assert [one.state for one in mailbox.uploads()] == ["delivered"]


def test_what_was_sealed_for_exact_release_waits_once_the_site_says_otherwise(loaded: Consortium) -> None:
    plain = loaded.north.settings_file.read_text()
    say_synthetic(loaded)
    study = loaded.submit(loaded.study(**EXACT))
    loaded.others_approve(study)
    last = loaded.nodes[3]
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        loaded.desk(mailbox).approve(study.digest, loaded.steward, loaded.now)
        last.down = True
        with pytest.raises(NodesUnreachable):
            connector.upload(study)
        last.down = False
        loaded.north.settings_file.write_text(plain)
        loaded.connector(mailbox).round()
        assert not last.uploads
