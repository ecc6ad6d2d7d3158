"""From the members' entries to a pinned federation file, by nothing but commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from governance.federation import Federation
from governance.keys import key_id
from tests.workbench.samples import in_own_words
from tests.workbench.test_cli import run
from workbench.identities import create_identity, load_identity, write_entry
from workbench.store import now
from workbench.study_check import check, complete_study, template, trial_keys

Capture = pytest.CaptureFixture[str]
SITES = ("north", "south")


def made(folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Four nodes and two hospitals; returns the paths of their entries."""
    monkeypatch.setenv("TESSERA_STEWARD_PASSPHRASE", "a long passphrase")
    for index, letter in enumerate("abcd"):
        addresses = ("--control", f"127.0.0.1:{9000 + index}", "--data", f"127.0.0.1:{9100 + index}")
        about = ("--index", str(index), "--id", f"node-{letter}", "--organisation", f"Operator {letter}")
        code, _, err = run(capsys, "node", "init", str(folder / f"node-{letter}"), *about, *addresses)
        assert code == 0, err
    for site in SITES:
        about = ("--id", site, "--name", f"Hospital {site}")
        assert run(capsys, "site", "init", str(folder / site), *about)[0] == 0
    names = [*SITES, "node-d", "node-b", "node-a", "node-c"]
    return [str(folder / name / "entry.json") for name in names]


def test_entries_become_a_file_that_every_party_pins(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = made(tmp_path, capsys, monkeypatch)
    file, again = tmp_path / "federation.json", tmp_path / "again.json"
    make = ("federation", "make")
    code, out, err = run(capsys, *make, str(file), *entries, "--name", "Example")
    assert code == 0, err
    digest = out.strip()
    assert run(capsys, "federation", "digest", str(file)) == (0, f"{digest}\n", "")
    assert run(capsys, *make, str(again), *reversed(entries), "--name", "Example")[1].strip() == digest
    federation = Federation.load(file, digest)
    assert [node.id for node in federation.nodes] == ["node-a", "node-b", "node-c", "node-d"]
    assert [site.id for site in federation.sites] == list(SITES)
    code, _, err = run(
        capsys, "site", "init", str(tmp_path / "north"), "--federation", str(file), "--pin", digest
    )
    assert code == 0, err
    code, _, err = run(capsys, *make, str(file), *entries, "--name", "Another")
    assert (code, "exists already" in err) == (2, True)
    assert Federation.load(file).digest == digest


def researcher(folder: Path, capsys: Capture, title: str, name: str = "researcher") -> Path:
    """An account of a workbench of an organisation of this title; returns the path of its entry."""
    state = folder / f"{title} {name}"
    state.mkdir()
    settings, password = state / "workbench.toml", state / "password"
    settings.write_text(f'title = "{title}"\nstate_dir = "state"\n', encoding="utf-8")
    password.write_text("correct horse battery\n", encoding="utf-8")
    add = ("workbench", "--settings", str(settings), "users", "add", name, "--role", "researcher")
    code, out, err = run(capsys, *add, "--password-file", str(password))
    assert code == 0, err
    entry = state / "state" / "identities" / name / "entry.json"
    assert f"entry: {entry}\n" in out
    return entry


def test_entries_of_investigators_become_the_list_of_who_may_propose(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = made(tmp_path, capsys, monkeypatch)
    file, again, without = (tmp_path / name for name in ("federation.json", "again.json", "without.json"))
    people = [str(researcher(tmp_path, capsys, title)) for title in ("University Ö & Co", "42 Institutes")]
    make = ("federation", "make")
    code, out, err = run(capsys, *make, str(file), *entries, *people, "--name", "Example")
    assert code == 0, err
    federation = Federation.load(file, out.strip())
    assert federation.investigators is not None
    assert [
        (one.id.removesuffix(key_id(one.signing_key)[:6]), one.organisation)
        for one in federation.investigators
    ] == [
        ("i-42-institutes-researcher-", "42 Institutes"),
        ("university-co-researcher-", "University Ö & Co"),
    ]
    mixed = [*reversed(people), *entries]
    assert run(capsys, *make, str(again), *mixed, "--name", "Example")[1] == out, "the order does not matter"
    digest = run(capsys, *make, str(without), *entries, "--name", "Example")[1]
    assert digest != out
    assert "investigators" not in json.loads(without.read_bytes())
    twice = ("federation", "make", str(tmp_path / "twice.json"), *entries, people[0], people[0])
    code, _, err = run(capsys, *twice, "--name", "Example")
    assert (code, "every investigator id must be distinct" in err) == (2, True), err


@pytest.mark.parametrize(
    ("title", "begin"),
    [
        ("Hospital of the University of Long Names and many more things", "hospital-of-the"),
        ("医院", "i-a-b"),
        ("9 " * 40, "i-9-9-9"),
    ],
)
def test_no_two_keys_get_the_same_id_however_alike_the_names_are(
    tmp_path: Path, title: str, begin: str
) -> None:
    made = []
    for name in ("a.b", "a_b", "a.b" + 40 * "c"):
        create_identity(tmp_path / name)
        made.append(write_entry(tmp_path / name, name, title))
    assert len({one.id for one in made}) == len(made)
    for one in made:
        assert one.id.startswith(begin)
        assert "-a-b" in one.id
        assert one.id.endswith(f"-{key_id(one.signing_key)[:6]}")


def test_a_workbench_refuses_what_is_proposed_with_a_key_that_is_not_listed(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any node is asked: none runs here."""
    entries = made(tmp_path, capsys, monkeypatch)
    listed, other = (researcher(tmp_path, capsys, "University", name) for name in ("listed", "other"))
    file, study = tmp_path / "federation.json", tmp_path / "study.yaml"
    make = ("federation", "make", str(file), *entries, str(listed), "--name", "Example")
    assert run(capsys, *make)[0] == 0
    assert run(capsys, "study", "new", "--federation", str(file), "-o", str(study))[0] == 0
    study.write_text(in_own_words(study.read_text(encoding="utf-8")), encoding="utf-8")
    code, out, _ = run(capsys, "study", "check", str(study), "--federation", str(file))
    assert (code, "Still open, with throw-away values" in out) == (0, True), "whose keys it will have is open"
    for command in ("check", "submit"):
        options = ("--federation", str(file), "--identity", str(other.parent))
        code, out, err = run(capsys, "study", command, str(study), *options)
        assert (code, "the study's investigator has key" in out + err) == (2, True), (out, err)
        assert "(university-listed-" in out + err
    options = ("--federation", str(file), "--identity", str(listed.parent))
    assert run(capsys, "study", "check", str(study), *options)[0] == 0
    code, _, err = run(capsys, "study", "submit", str(study), *options)
    assert (code, "does not answer" in err) == (3, True), err


def test_keys_that_a_draft_leaves_open_are_looked_up_once_they_are_there(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = made(tmp_path, capsys, monkeypatch)
    listed, other = (researcher(tmp_path, capsys, "University", name) for name in ("listed", "other"))
    file = tmp_path / "federation.json"
    assert run(capsys, "federation", "make", str(file), *entries, str(listed), "--name", "Example")[0] == 0
    federation, own = Federation.load(file), load_identity(listed.parent)
    draft = yaml.safe_load(in_own_words(template(now(), federation)))
    left = {"role": "physician", "site": "north", "organisation": "Hospital north", "sealing_key": None}
    draft["recipients"].append({**left, "id": "physician", "signing_key": None})
    for identity, wrong in ((own, ""), (load_identity(other.parent), "the study's investigator has key")):
        text = yaml.safe_dump(draft)
        study = complete_study(text, federation, identity, trial=True)
        found = check(study, now(), federation, trial_keys(text, study, identity))
        errors = [one.text for one in found if one.level == "error"]
        assert [wrong in error for error in errors] == [True] * bool(wrong), errors


def test_what_is_no_entry_is_refused_by_name(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = made(tmp_path, capsys, monkeypatch)
    file, wrong = tmp_path / "federation.json", tmp_path / "wrong.json"
    wrong.write_text('{"id": "west"}', encoding="utf-8")
    for bad, words in (
        ([*entries, str(wrong)], f"{wrong}: not the `entry.json` that `tessera node init`"),
        ([*entries, str(tmp_path / "none.json")], "none.json: cannot be read"),
        (entries[:-1], "rep4 needs nodes 0 to 3 in order, found [0, 1, 3]"),
    ):
        code, _, err = run(capsys, "federation", "make", str(file), *bad, "--name", "Example")
        assert (code, words in err) == (2, True), err
    assert not file.exists()


def test_a_bad_federation_file_is_named_by_every_command(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, capsys, monkeypatch)
    for words in ('{"name": "x"}', "no JSON"):
        file = tmp_path / "bad.json"
        file.write_text(words, encoding="utf-8")
        option = ("--federation", str(file))
        for command in (
            ("node", "serve", str(tmp_path / "node-a"), *option),
            ("site", "init", str(tmp_path / "north"), *option),
            ("study", "new", *option),
            ("verify", "receipt.json", *option),
            ("federation", "digest", str(file)),
        ):
            code, _, err = run(capsys, *command)
            assert code == 2, command
            assert f"{file}: not a federation file: " in err, command
            assert "take the file the members agreed on" in err, command
            assert "receipt does not hold" not in err


def test_a_node_that_has_no_federation_yet_says_how_to_pin_one(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, capsys, monkeypatch)
    code, _, err = run(capsys, "node", "status", str(tmp_path / "empty"))
    assert (code, f"{tmp_path / 'empty'}: no node here; `tessera node init" in err) == (2, True), err
    code, _, err = run(capsys, "node", "status", str(tmp_path / "node-a"))
    assert (code, "tessera node serve" in err and "--federation FILE" in err) == (2, True), err
    about = ("--id", "node-h", "--organisation", "H", "--control", "127.0.0.1:1", "--data", "127.0.0.1:2")
    code, _, err = run(capsys, "node", "init", str(tmp_path / "node-h"), "--index", "7", *about)
    assert (code, "should be less than or equal to 3" in err) == (2, True), err
    assert not (tmp_path / "node-h").exists()
