"""The two documents everybody pins: what they refuse, and that their digest is one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from governance.approval import check_study
from governance.canonical import canonical_json, sha256_hex
from governance.disclosure import DisclosurePolicy
from governance.errors import DocumentError, Expired, FederationMismatch, NotYetValid, PolicyRefused
from governance.federation import Federation
from governance.protocols import NODES_OF, trust_words
from governance.study import StudyProtocol
from tests.governance.conftest import COHORT, NOW, Parties


def test_federation_file_keeps_its_digest_in_any_layout(federation: Federation, tmp_path: Path) -> None:
    path = tmp_path / "federation.json"
    federation.save(path)
    assert Federation.load(path, pinned=federation.digest) == federation
    path.write_text(json.dumps(json.loads(path.read_bytes()), indent=4, sort_keys=False))
    assert Federation.load(path, pinned=federation.digest) == federation


def test_another_federation_than_the_pinned_one_is_refused(federation: Federation, tmp_path: Path) -> None:
    path = tmp_path / "federation.json"
    federation.model_copy(update={"version": 2}).save(path)
    with pytest.raises(FederationMismatch, match=federation.digest):
        Federation.load(path, pinned=federation.digest)
    with pytest.raises(DocumentError, match="cannot read"):
        Federation.load(tmp_path / "absent.json")


def federation_value(federation: Federation) -> dict:
    return json.loads(federation.canonical())


def test_federation_faults_are_named(federation: Federation) -> None:
    def refused(change, message: str) -> None:
        value = federation_value(federation)
        change(value)
        with pytest.raises(DocumentError, match=message):
            Federation.from_value(value)

    refused(lambda v: v["nodes"].pop(), r"rep4 needs nodes 0 to 3 in order, found \[0, 1, 2\]")
    refused(lambda v: v["nodes"].reverse(), "in order")
    refused(
        lambda v: v["nodes"][1].update(organisation=" operator 0 "), "every node operator must be distinct"
    )
    refused(lambda v: v["nodes"][1].update(id="node-a"), "every node id must be distinct")
    refused(lambda v: v["sites"][0].update(steward_key=v["sites"][0]["connector_key"]), "every signing key")
    refused(lambda v: v["sites"][0].update(steward_key=v["nodes"][0]["identity_key"]), "every signing key")
    refused(lambda v: v["nodes"][2].update(sealing_key="AAAA"), "nodes.2.sealing_key: expected 1216 bytes")
    refused(lambda v: v["nodes"][2].update(identity_key="?"), "nodes.2.identity_key: not base64")
    refused(lambda v: v["nodes"][2].update(tls_certificate="x"), "nodes.2.tls_certificate: no X.509")
    refused(lambda v: v["nodes"][2].update(data_address="host"), "nodes.2.data_address: expected host:port")
    refused(lambda v: v["nodes"][2].update(control_url="http://a"), "nodes.2.control_url: expected an https")
    refused(lambda v: v.update(protocol="plain"), "protocol")
    refused(lambda v: v.update(release_floor=4), "release_floor")
    refused(lambda v: v.update(surprise=1), "surprise")


def test_three_nodes_of_distinct_organisations_may_run_rep3(federation: Federation) -> None:
    value = {**federation_value(federation), "protocol": "rep3"}
    with pytest.raises(DocumentError, match=r"rep3 needs nodes 0 to 2 in order, found \[0, 1, 2, 3\]"):
        Federation.from_value(value)
    value["nodes"].pop()
    assert len(Federation.from_value(value).nodes) == 3
    value["nodes"][2]["organisation"] = value["nodes"][0]["organisation"]
    with pytest.raises(DocumentError, match="every node operator must be distinct"):
        Federation.from_value(value)


def test_a_study_asks_for_the_protocol_that_the_federation_runs(
    federation: Federation, parties: Parties
) -> None:
    with pytest.raises(FederationMismatch, match="asks for rep3, the federation runs rep4"):
        check_study(federation, parties.study(federation, protocol="rep3"))


def test_words_say_what_each_protocol_promises() -> None:
    names = ("Registry", "Institute", "Trust", "Centre")
    for protocol, count in NODES_OF.items():
        words = trust_words(protocol, names[:count])
        assert f"Any two of {', '.join(names[: count - 1])} and {names[count - 1]} together could" in words
    assert "is caught" in trust_words("rep4", names)
    rep3 = trust_words("rep3", names[:3])
    assert "semi-honest" in rep3
    assert "deviates from the protocol is not detected" in rep3
    assert "caught" not in rep3
    assert "Any two of the three node operators" in trust_words("rep3")


def test_nodes_and_sites_are_found_by_id(federation: Federation) -> None:
    assert federation.node("node-c") is federation.node(2)
    with pytest.raises(DocumentError, match="node-a"):
        federation.node("node-x")
    with pytest.raises(DocumentError, match="north"):
        federation.site("east")


def test_a_study_reads_back_from_canonical_bytes_and_from_yaml(study: StudyProtocol) -> None:
    assert StudyProtocol.from_canonical(study.canonical()) == study
    again = StudyProtocol.from_yaml(study.to_yaml())
    assert again == study
    assert again.digest == study.digest


def test_every_field_counts_in_the_digest(
    parties: Parties, federation: Federation, study: StudyProtocol
) -> None:
    changes = [
        {"title": "Metformin in type 2 diabetes."},
        {"cohorts": {"diabetes": COHORT + " "}},
        {
            "analyses": [
                {"id": "persons", "kind": "cohort_count", "cohort": "diabetes", "parameters": {"k": 1}}
            ]
        },
        {"disclosure": {"minimum_cell": 11}},
        {"nonce": "0" * 32},
        {"synthetic_data": True},
    ]
    digests = {parties.study(federation, **change).digest for change in changes}
    assert len(digests | {study.digest}) == len(changes) + 1


def test_yaml_in_another_order_with_other_numbers_is_the_same_study(
    parties: Parties, federation: Federation
) -> None:
    fields = parties.study_fields(federation)
    levels = {"kind": "category", "domain": "condition", "levels": {"b": [2], "a": [1]}}
    one = StudyProtocol.from_yaml(json.dumps({**fields, "variables": {"stage": levels}}))
    swapped = {**levels, "levels": {"a": [1], "b": [2]}}
    other = StudyProtocol.from_yaml(
        json.dumps(dict(reversed({**fields, "variables": {"stage": swapped}}.items())))
    )
    assert one.digest == other.digest
    assert list(one.variables["stage"].levels) == ["a", "b"]


def test_a_missing_nonce_is_drawn_and_overrides_win(parties: Parties, federation: Federation) -> None:
    fields = parties.study_fields(federation)
    del fields["nonce"]
    text = json.dumps(fields)
    one, other = StudyProtocol.from_yaml(text), StudyProtocol.from_yaml(text)
    assert one.nonce != other.nonce
    assert StudyProtocol.from_yaml(text, title="Other").title == "Other"


def test_study_faults_are_named_by_path(parties: Parties, federation: Federation) -> None:
    def refused(message: str, **changes: object) -> None:
        with pytest.raises(DocumentError, match=message):
            parties.study(federation, **changes)

    analysis = {"id": "a", "kind": "cohort_count", "cohort": "diabetes"}
    refused("purpose.use: expected 'public_health', ", purpose={"use": "marketing"})
    refused("variables.age.kind: expected one of ", variables={"age": {"kind": "agee"}})
    refused("cohorts.Bad Name", cohorts={"Bad Name": "x"})
    refused("names cohort 'other'; cohorts:", analyses=[{**analysis, "cohort": "other"}])
    refused("names no cohort", analyses=[{**analysis, "cohort": None}])
    refused("analyses must be distinct; 'a' is named twice", analyses=[analysis, analysis])
    refused("sites must be distinct", sites=["north", "south", "south"])
    refused("fewer than disclosure.minimum_sites", sites=["north", "south"])
    refused("minimum_cell 4 is below 5", disclosure={"minimum_cell": 4})
    refused("'exact' needs synthetic_data", disclosure={"release": "exact"})
    refused("not_after must be later", validity={"not_before": str(NOW), "not_after": str(NOW)})
    refused("ten years", validity={"not_before": "2026-01-01T00:00:00Z", "not_after": "2036-06-01T00:00:00Z"})
    refused(
        "validity.not_before: a time needs its zone",
        validity={"not_before": "2026-01-01T00:00:00", "not_after": str(NOW)},
    )
    refused("budget.runs", budget={"runs": 0})
    refused("`feasibility` bounds go with", kind="feasibility")
    refused("`feasibility` bounds go with", feasibility={"concept_sets": "x", "max_counts": 1})
    refused("script", script="import os")
    bounds = {"concept_sets": "x", "max_counts": 1}
    for kind in ("survival", "treatment_ranking"):
        analyses = [{"id": "open", "kind": kind}]
        refused("names no cohort; only", kind="feasibility", feasibility=bounds, analyses=analyses)
    for rounding in (1, 4):
        policy = {"rounding": rounding}
        refused("difference of two nearly", kind="feasibility", feasibility=bounds, disclosure=policy)


def test_recipients_need_their_own_keys_and_a_physician_a_hospital(
    parties: Parties, federation: Federation
) -> None:
    researcher, physician = parties.study_fields(federation)["recipients"]  # type: ignore[misc]
    for people, message in [
        ([researcher, {**researcher, "id": "other"}], "signing keys must be distinct"),
        ([researcher, {**physician, "site": None}], "a physician needs `site`"),
        ([researcher, {**physician, "site": "east"}], "no site of this study"),
    ]:
        with pytest.raises(DocumentError, match=message):
            parties.study(federation, recipients=people)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: a\ntitle: b\n", "line 1: key 'title' appears twice"),
        ("- a\n", "YAML mapping"),
        ("a: [1\n", "not YAML"),
        ("!!python/object/apply:os.getcwd []", "not YAML"),
    ],
)
def test_yaml_at_fault(text: str, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        StudyProtocol.from_yaml(text)


def test_bytes_that_leave_defaults_out_are_refused(study: StudyProtocol) -> None:
    value = json.loads(study.canonical())
    del value["synthetic_data"]
    with pytest.raises(DocumentError, match="written out"):
        StudyProtocol.from_canonical(canonical_json(value))


def test_documents_cannot_be_changed_in_place(study: StudyProtocol) -> None:
    with pytest.raises(ValueError, match="frozen"):
        study.title = "other"  # type: ignore[misc]


def test_time_of_validity(study: StudyProtocol) -> None:
    study.check_time(NOW)
    study.check_time(study.validity.not_before)
    study.check_time(study.validity.not_after)
    with pytest.raises(NotYetValid, match="2026-01-01"):
        study.check_time(NOW.replace(year=2025))
    with pytest.raises(Expired, match="2026-12-31"):
        study.check_time(NOW.replace(year=2027))


def test_a_study_for_another_federation_or_below_its_floor_is_refused(
    parties: Parties, federation: Federation
) -> None:
    check_study(federation, parties.study(federation))
    with pytest.raises(FederationMismatch, match="is written for federation"):
        check_study(federation, parties.study(federation, federation="0" * 64))
    strict = federation.model_copy(update={"release_floor": 20})
    with pytest.raises(PolicyRefused, match="10 is below the federation's floor 20"):
        check_study(strict, parties.study(strict))
    with pytest.raises(DocumentError, match="no site 'east'"):
        check_study(federation, parties.study(federation, sites=["north", "south", "west", "east"]))


def test_separation_of_duties(parties: Parties, federation: Federation) -> None:
    people = parties.study_fields(federation)["recipients"]
    for key in (parties.stewards["north"], parties.connectors["west"], parties.nodes["node-a"]):
        asker = {"role": "r", "organisation": "o", "key": key.public}
        with pytest.raises(PolicyRefused, match="key of investigator also belongs"):
            check_study(federation, parties.study(federation, investigator=asker))
        reader = [{**people[0], "signing_key": key.public}]  # type: ignore[index]
        with pytest.raises(PolicyRefused, match="key of recipient researcher also"):
            check_study(federation, parties.study(federation, recipients=reader))


def test_footnotes_follow_the_policy() -> None:
    assert DisclosurePolicy().footnote() == (
        "Numbers below 10 are withheld; others are rounded to multiples of 10."
    )
    assert "others are exact" in DisclosurePolicy(rounding=1).footnote()
    assert "A true zero is shown" in DisclosurePolicy(allow_true_zero=True).footnote()
    assert "synthetic" in DisclosurePolicy(release="exact", minimum_cell=0).footnote()


def test_texts_that_do_not_parse_or_name_nothing_are_refused(
    parties: Parties, federation: Federation
) -> None:
    with pytest.raises(DocumentError, match=r"cohorts\.diabetes: line 1, column 1"):
        check_study(federation, parties.study(federation, cohorts={"diabetes": "select persons"}))
    presence = {"kind": "presence", "domain": "condition", "concepts": "Stroke"}
    with pytest.raises(
        DocumentError, match=r"variables\.stroke: no cohort declares the concept set 'Stroke'"
    ):
        check_study(federation, parties.study(federation, variables={"stroke": presence}))
    presence["concepts"] = "Diabetes"
    check_study(federation, parties.study(federation, variables={"stroke": presence}))


def test_a_changed_copy_has_a_digest_of_its_own(study: StudyProtocol) -> None:
    twin = StudyProtocol.from_canonical(study.canonical())
    before = study.digest
    changed = study.model_copy(update={"title": "Another title"})
    assert changed.digest == sha256_hex(changed.canonical()) != before
    assert study.digest == before == study.model_copy().digest
    assert study == twin, "whether the digest was asked for makes no difference"
