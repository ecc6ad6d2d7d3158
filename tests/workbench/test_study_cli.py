"""`tessera study` from a fresh template to a run that no hospital feeds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from governance.errors import FederationMismatch
from governance.study import StudyProtocol
from tests.workbench.conftest import EXAMPLES, Consortium
from tests.workbench.samples import in_own_words
from tests.workbench.test_cli import run
from tests.workbench.test_client import Nodes, waiting
from workbench import client, study_cli
from workbench.client import Client, Study, connect
from workbench.identities import create_identity


@pytest.fixture
def template(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("TESSERA_FEDERATION", "TESSERA_IDENTITY", "TESSERA_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)
    path = str(tmp_path / "study.yaml")
    assert run(capsys, "study", "new", "-o", path)[0] == 0
    return path


@pytest.fixture
def written(template: str) -> str:
    """The template in words of one's own."""
    path = Path(template)
    path.write_text(in_own_words(path.read_text(encoding="utf-8")), encoding="utf-8")
    return template


def test_a_fresh_template_is_checked_explained_and_planned_for_trial(
    capsys: pytest.CaptureFixture[str], template: str
) -> None:
    open_fields = "federation, investigator.key, recipients.researcher.signing_key"
    code, out, _ = run(capsys, "study", "check", template)
    assert code == 2, out
    assert "error: title, purpose.description, purpose.legal_basis, purpose.ethics_reference, " in out
    assert f"lint: draft: Still open, with throw-away values in their place here: {open_fields}" in out
    code, out, _ = run(capsys, "study", "explain", template)
    assert code == 0
    assert out.startswith(
        f"> **Draft.** Still open, with throw-away values in their place here: {open_fields}"
    )
    code, out, err = run(capsys, "study", "plan", template, "--json")
    assert code == 0
    assert json.loads(out)["steps"]
    assert open_fields in err


@pytest.mark.parametrize("example", ["count", "survival", "ranking", "feasibility"])
def test_the_examples_are_checked_without_a_federation(
    capsys: pytest.CaptureFixture[str], template: str, example: str
) -> None:
    code, out, _ = run(capsys, "study", "check", str(EXAMPLES / f"{example}.yaml"))
    assert code == 0, out


def test_with_federation_and_keys_nothing_is_a_trial_value(
    capsys: pytest.CaptureFixture[str], consortium: Consortium, written: str
) -> None:
    pinned = ("--federation", str(consortium.folder / "federation.json"))
    code, out, _ = run(
        capsys, "study", "check", written, *pinned, "--identity", str(consortium.folder / "researcher")
    )
    assert (code, out) == (0, "nothing found\n")
    out = run(capsys, "study", "explain", written, *pinned)[1]
    assert out.startswith(
        "> **Draft.** Still open, with throw-away values in their place here: investigator.key"
    )


def test_words_of_the_template_are_not_submitted(
    capsys: pytest.CaptureFixture[str], consortium: Consortium, template: str
) -> None:
    """Before any node is asked: none runs here."""
    options = (
        "--federation", str(consortium.folder / "federation.json"),
        "--identity", str(consortium.folder / "researcher"),
    )  # fmt: skip
    code, out, err = run(capsys, "study", "submit", template, *options)
    assert (code, out, "still the text of the template; write your own" in err) == (2, "", True), err


def test_an_undeclared_variable_is_refused_by_check_and_submit(
    capsys: pytest.CaptureFixture[str], consortium: Consortium, tmp_path: Path
) -> None:
    draft = yaml.safe_load((EXAMPLES / "survival.yaml").read_text(encoding="utf-8"))
    draft["analyses"][0]["parameters"]["arm"] = "terapy"
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(draft), encoding="utf-8")
    options = (
        "--federation", str(consortium.folder / "federation.json"),
        "--identity", str(consortium.folder / "researcher"),
    )  # fmt: skip
    for command in ("check", "submit"):
        code, out, err = run(capsys, "study", command, str(path), *options)
        assert code == 2
        assert "names terapy, which the study does not declare; declared variables: hba1c, " in out + err


def test_files_in_another_encoding_are_refused(
    capsys: pytest.CaptureFixture[str], consortium: Consortium, template: str, tmp_path: Path
) -> None:
    path = tmp_path / "patients.cohort"
    path.write_bytes('cohort "Männer"'.encode("latin-1"))
    options = (
        "--federation", str(consortium.folder / "federation.json"),
        "--identity", str(consortium.folder / "researcher"),
    )  # fmt: skip
    for words in (
        ("plan", template, "--cohort", str(path)),
        ("run", "a", "b", *options, "--cohort", str(path)),
        ("run", "a", "b", *options, "--facts", str(path)),
        ("check", str(path)),
    ):
        code, _, err = run(capsys, "study", *words)
        assert (code, err) == (2, f"tessera: {path}: not UTF-8 text; save the file as UTF-8\n")


@pytest.fixture
def unfed(consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> StudyProtocol:
    """An approved study at nodes that wait for two hospitals' uploads for ever."""
    study = consortium.study("count")
    monkeypatch.setattr(client, "NodeSet", lambda federation: Nodes(federation, waiting))
    monkeypatch.setattr(client, "post_run", lambda _nodes, prepared: prepared.request.run_id)
    made = Client(consortium.federation, consortium.researcher)
    monkeypatch.setattr(made, "study", lambda _which: Study(made, consortium.view(study)))
    monkeypatch.setattr(study_cli, "_client", lambda *_: made)
    return study


def test_a_run_that_no_hospital_feeds_tells_its_id_and_ends_in_time(
    capsys: pytest.CaptureFixture[str], consortium: Consortium, unfed: StudyProtocol
) -> None:
    options = ("--federation", "f.json", "--identity", "keys", "--timeout", "0.5")
    code, out, err = run(capsys, "study", "run", "diabetes-count", unfed.analyses[0].id, *options)
    first, sent, waits, last = err.splitlines()
    run_id = first.removeprefix("run ")
    assert (code, out, len(run_id)) == (3, "", 64)
    assert (sent, waits) == ("  0% Sent to the nodes", "  0% Waiting for the upload of west, south")
    assert last.startswith(f"tessera: run {run_id[:12]} has no result after 0.5 s")
    assert "ask the data steward of south, west: the inbox there says whether the connector runs" in last
    assert "whether it refused the run and why" in last
    code, _, err = run(capsys, "study", "results", "diabetes-count", run_id, *options)
    assert code == 3
    assert f"tessera study results STUDY {run_id}" in err


def test_keys_are_used_with_one_federation_file(
    capsys: pytest.CaptureFixture[str], consortium: Consortium, written: str, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    create_identity(keys)
    agreed = consortium.folder / "federation.json"
    other = consortium.federation.model_copy(update={"version": 2})
    other.save(tmp_path / "other.json")
    first, second = consortium.federation.digest, other.digest

    def check(file: Path) -> tuple[int, str]:
        code, _, err = run(
            capsys, "study", "check", written, "--federation", str(file), "--identity", str(keys)
        )
        return code, err

    assert check(agreed) == (0, "")
    code, err = check(tmp_path / "other.json")
    assert code == 2
    assert f"its digest is {second}, but pinned is {first}" in err
    assert "ask them for its digest and give it once with --pin DIGEST" in err
    for command in (("submit", written), ("status",), ("run", "a", "b"), ("results", "a", "b")):
        options = ("--federation", str(tmp_path / "other.json"), "--identity", str(keys))
        code, _, err = run(capsys, "study", *command, *options)
        assert (code, f"pinned is {first}" in err) == (2, True), command
    with pytest.raises(FederationMismatch, match=f"digest is {first}, but --pin names {second}"):
        connect(agreed, keys, pin=second)
    assert connect(tmp_path / "other.json", keys, pin=second).federation.digest == second
    assert check(agreed)[0] == 2
    assert check(tmp_path / "other.json") == (0, "")
