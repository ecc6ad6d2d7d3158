"""The command line: two-step set-up, loading, deciding, and one clear message with status 2 or 3 for bad input."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
import typer
from typer.testing import CliRunner, Result

from governance.envelope import Envelope
from governance.federation import Federation
from governance.keys import SigningKey
from site_connector.cli import site_app
from site_connector.directory import SiteDirectory
from site_connector.errors import ConnectorBusy
from tests.site_connector.consortium import COHORT, PASSPHRASE, Consortium, directory_digest
from tests.site_connector.extract import write_extract

ENVIRONMENT = {"TESSERA_STEWARD_PASSPHRASE": PASSPHRASE.decode()}


def tessera(*words: object, **environment: str) -> Result:
    return CliRunner().invoke(site_app, [str(word) for word in words], env={**ENVIRONMENT, **environment})


def refused(result: Result, *parts: str, status: int = 2) -> str:
    """The one line a refusal prints; with the status and words expected."""
    assert result.exit_code == status, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    for part in parts:
        assert part in lines[0]
    assert "Traceback" not in result.output
    return lines[0]


# ---- set-up


def test_setting_up_in_two_steps(tmp_path: Path, consortium: Consortium) -> None:
    made = tessera("init", tmp_path / "east", "--id", "east", "--name", "Hospital East")
    assert made.exit_code == 0, made.output
    entry = json.loads(made.stdout)
    assert entry == json.loads((tmp_path / "east" / "entry.json").read_bytes())
    for key in ("connector.pem", "steward.pem"):
        assert stat.S_IMODE((tmp_path / "east" / "keys" / key).stat().st_mode) == 0o600
    assert SigningKey.load(tmp_path / "east/keys/steward.pem", PASSPHRASE).public == entry["steward_key"]
    refused(tessera("inbox", tmp_path / "east"), "no federation is pinned yet", "--federation FILE")
    value = json.loads(consortium.federation.canonical())
    value["sites"].append(entry)
    file = tmp_path / "agreed.json"
    file.write_text(json.dumps(value, indent=2))
    digest = Federation.load(file).digest
    refused(
        tessera("init", tmp_path / "east", "--federation", file, "--pin", "0" * 64), digest, "--pin names 000"
    )
    pinned = tessera("init", tmp_path / "east", "--federation", file, "--pin", digest)
    assert digest in pinned.stdout
    value["version"] = 2
    file.write_text(json.dumps(value))
    refused(tessera("init", tmp_path / "east", "--federation", file), f"pinned is {digest}", "--pin DIGEST")
    (tmp_path / "east" / "federation.json").write_text(file.read_text())
    refused(tessera("inbox", tmp_path / "east"), "pinned is", digest)


def test_a_site_holds_patients_unless_set_up_as_synthetic(tmp_path: Path) -> None:
    for name, option in (("east", ()), ("made-up", ("--synthetic",))):
        made = tessera("init", tmp_path / name, "--id", name, "--name", name, *option)
        assert made.exit_code == 0, made.output
        assert SiteDirectory(tmp_path / name).settings().synthetic_data == bool(option)


def test_set_up_refusals(tmp_path: Path, consortium: Consortium) -> None:
    file = consortium.root / "federation.json"
    refused(tessera("init", tmp_path / "x"), "give --id and --name")
    refused(tessera("init", consortium.north.path, "--id", "a", "--name", "A"), "keys are never overwritten")
    refused(
        tessera("init", tmp_path / "x", "--id", "Not An Id", "--name", "A"), "id: expected text of the form "
    )
    short = tessera("init", tmp_path / "x", "--id", "a", "--name", "A", TESSERA_STEWARD_PASSPHRASE="short")
    refused(short, "at least 8 characters")
    assert not (tmp_path / "x").exists()
    refused(tessera("init", tmp_path / "y", "--federation", file, "--synthetic"), "give --id and --name")
    assert tessera("init", tmp_path / "y", "--id", "north", "--name", "N").exit_code == 0
    refused(
        tessera("init", tmp_path / "y", "--federation", file), "lists another connector_key and steward_key"
    )
    assert tessera("init", tmp_path / "z", "--id", "east", "--name", "E").exit_code == 0
    refused(
        tessera("init", tmp_path / "z", "--federation", file),
        "['north', 'south', 'west'], not this one (east)",
    )
    refused(
        tessera("init", tmp_path / "z", "--federation", tmp_path / "none"), "cannot read the federation file"
    )
    refused(tessera("inbox", tmp_path / "nowhere"), "no site here")
    no_terminal = CliRunner().invoke(
        site_app, ["init", str(tmp_path / "q"), "--id", "q", "--name", "Q"], env={}
    )
    refused(no_terminal, "no passphrase")


# ---- loading


def truncated_ndjson(folder: Path) -> list[object]:
    folder.mkdir()
    (folder / "Patient.ndjson").write_text(
        '{"resourceType":"Patient","id":"1","gender":"male","birthDate":"1970-01-01"}\n{"resourceType":"Pat'
    )
    return ["--fhir", folder]


def wrong_encoding(folder: Path) -> list[object]:
    mapping = csv_extract(folder)
    (folder / "diagnoses.csv").write_bytes("PATNR;DATE;ICD\n1;03.04.2020;Gr\xf6\xdfe\n".encode("latin-1"))
    return ["--csv", folder, "--mapping", mapping]


def wrong_mapping(folder: Path) -> list[object]:
    mapping = csv_extract(folder)
    mapping.write_text(mapping.read_text().replace("person: PATNR", "person: PATIENT"))
    return ["--csv", folder, "--mapping", mapping]


def unknown_concept(folder: Path) -> list[object]:
    mapping = csv_extract(folder)
    code = "concept: {column: ICD, map: {E11: 987654321}}"
    mapping.write_text(mapping.read_text().replace("concept: {column: ICD, vocabulary: ICD10CM}", code))
    return ["--csv", folder, "--mapping", mapping]


def omop_without_person(folder: Path) -> list[object]:
    write_extract(folder)
    (folder / "person.csv").unlink()
    return ["--omop", folder]


def csv_extract(folder: Path) -> Path:
    folder.mkdir()
    (folder / "diagnoses.csv").write_text("PATNR;DATE;ICD\n1;03.04.2020;E11\n", encoding="utf-8")
    mapping = folder / "mapping.yaml"
    mapping.write_text(
        """tessera: csv-mapping/1
files:
  - path: diagnoses.csv
    encoding: utf-8
    delimiter: ";"
    dates: ["%d.%m.%Y"]
    rows:
      - table: condition_occurrence
        person: PATNR
        start: DATE
        concept: {column: ICD, vocabulary: ICD10CM}
"""
    )
    return mapping


@pytest.mark.parametrize(
    ("extract_of", "part"),
    [
        (truncated_ndjson, "line 2"),
        (wrong_encoding, "utf-8"),
        (wrong_mapping, "PATIENT"),
        (unknown_concept, "987654321"),
        (omop_without_person, "no person table"),
    ],
)
def test_a_bad_extract_is_refused_whole(loaded: Consortium, tmp_path: Path, extract_of, part: str) -> None:
    before = directory_digest(loaded.north.path)
    line = refused(tessera("load", loaded.north.path, *extract_of(tmp_path / "bad")), part)
    assert "Gr" not in line, "no value of a record is repeated"
    assert directory_digest(loaded.north.path) == before


def test_a_load_leaves_files_for_their_owner_alone_and_no_core_dump(
    consortium: Consortium, tmp_path: Path
) -> None:
    """Started by somebody whose files others may read: `load` as a process, as an operator runs it."""
    folder, south = write_extract(tmp_path / "omop"), consortium.sites["south"].path
    code = (
        "import resource, sys; from site_connector.cli import site_app; site_app(sys.argv[1:], standalone_mode=False); "
        "print(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    words, before = ["load", str(south), "--omop", str(folder)], set(south.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", code, *words], umask=0o022, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("(0, 0)\n")
    written = {file.name: stat.S_IMODE(file.stat().st_mode) for file in set(south.iterdir()) - before}
    assert {"cdm.duckdb", "load-report.json", "data.lock", "ledger.sqlite"} <= set(written)
    assert set(written.values()) == {0o600}


def test_load_arguments(loaded: Consortium, tmp_path: Path) -> None:
    folder = write_extract(tmp_path / "omop")
    north = loaded.north.path
    refused(tessera("load", north), "exactly one of --fhir, --omop and --csv")
    refused(tessera("load", north, "--omop", folder, "--fhir", folder), "exactly one of")
    refused(tessera("load", north, "--csv", folder), "needs a mapping file")
    refused(tessera("load", north, "--omop", folder, "--mapping", folder / "m"), "belongs to a CSV extract")
    refused(tessera("load", tmp_path / "nowhere", "--omop", folder), "no site here")
    refused(tessera("load", north, "--omop", tmp_path / "absent"), "absent")


def test_quality_report(loaded: Consortium) -> None:
    shown = tessera("quality", loaded.north.path)
    assert shown.exit_code == 0
    assert "40 persons, 5 deaths" in shown.stdout
    report = json.loads(tessera("quality", loaded.north.path, "--json").stdout)
    drugs = next(table for table in report["tables"] if table["table"] == "drug_exposure")
    assert (drugs["rows"], drugs["persons"], drugs["unmapped"]) == (40, 40, 0)
    refused(tessera("quality", loaded.sites["south"].path), "no data yet")


def test_the_words_of_the_database_are_not_repeated(
    loaded: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB quotes the cell it cannot convert."""

    def fails(*_: object) -> None:
        duckdb.sql("SELECT CAST('Marker-7781' AS INTEGER)").fetchall()

    noticed(loaded)
    for module in ("quality", "loading"):
        monkeypatch.setattr(f"site_connector.{module}.{module.removesuffix('ing')}", fails)
    for words in (["quality", loaded.north.path], ["load", loaded.north.path, "--omop", loaded.root]):
        line = refused(tessera(*words), "database could not answer (ConversionException at", status=3)
        assert "7781" not in line
        assert (
            "a value does not fit the type of its column: correct the extract there and load it again" in line
        )


def test_help_loads_no_database() -> None:
    """Wrong arguments and help are answered at once: nothing heavy is imported before a command runs."""
    heavy = {"ibis", "pandas", "numba", "numpy", "sqlalchemy", "duckdb", "httpx"}
    code = f"import sys, site_connector.cli; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_mapping_file_is_said_to_be_what_it_is() -> None:
    (mapping,) = [
        one for one in typer.main.get_command(site_app).commands["load"].params if one.name == "mapping"
    ]
    assert "(YAML)" in mapping.help


# ---- studies


def noticed(consortium: Consortium, **changes: object) -> str:
    """A study the connector has taken in; its digest."""
    study = consortium.submit(consortium.study(**changes))
    with consortium.mailbox() as mailbox:
        consortium.connector(mailbox).round()
    return study.digest


def test_deciding_on_the_command_line(loaded: Consortium) -> None:
    digest, north = noticed(loaded), loaded.north.path
    assert "waiting for our decision" in tessera("inbox", north).stdout
    page = tessera("review", north, digest[:8])
    assert page.exit_code == 0
    assert "# Metformin in type 2 diabetes" in page.stdout
    wrong = tessera("approve", north, "metformin", TESSERA_STEWARD_PASSPHRASE="not the passphrase")
    refused(wrong, "passphrase is wrong")
    for _ in range(2):
        approved = tessera("approve", north, "metformin", "--reason", "in order")
        assert "approved by us, waiting for others" in approved.stdout
    with loaded.mailbox() as mailbox:
        assert len(mailbox.pending()) == 1, "approving twice signs once"
    assert json.loads(tessera("inbox", north, "--json").stdout)[0]["sites"]["north"] == "approved"
    assert "declined by us" in tessera("decline", north, "metformin", "--reason", "changed our mind").stdout
    refused(tessera("withdraw", north, "metformin"), "was never approved here (declined)")
    ledger = json.loads(tessera("ledger", north, "--json").stdout)
    assert [entry["kind"] for entry in ledger["entries"]] == ["load", "approve", "decline"]
    assert tessera("ledger", north).stdout.rstrip().endswith(f"root {ledger['root']}")


def test_unknown_studies(loaded: Consortium) -> None:
    noticed(loaded)
    noticed(loaded, title="Another with the same short name")
    refused(tessera("approve", loaded.north.path, "survival"), "no study 'survival'", "tessera site inbox")
    refused(tessera("review", loaded.north.path, "metformin"), "fits 2 studies")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {
                "variables": {
                    "year": {"kind": "index_year"},
                    "death": {"kind": "age"},
                    "drug": {"kind": "sex"},
                }
            },
            ["cannot be served by this hospital's data", "death"],
        ),
        (
            {"cohorts": {"treated": COHORT.replace("201826", "987654321")}},
            ["cannot be served by this hospital's data", "987654321"],
        ),
    ],
)
def test_a_study_this_hospital_cannot_serve(loaded: Consortium, changes: dict, parts: list[str]) -> None:
    """A column no data give, a concept the vocabulary lacks: seen in the dry run, refused on approval."""
    noticed(loaded, **changes)
    refused(tessera("approve", loaded.north.path, "metformin"), *parts)
    assert "**Cannot be served:**" in tessera("review", loaded.north.path, "metformin").stdout
    declined = tessera("decline", loaded.north.path, "metformin")
    assert "declined by us" in declined.stdout, declined.stderr


def test_nothing_is_approved_before_a_dry_run(consortium: Consortium) -> None:
    noticed(consortium)
    refused(tessera("approve", consortium.north.path, "metformin"), "had no dry run")
    assert "no data yet" in tessera("inbox", consortium.north.path).stdout


def test_one_round_that_reaches_no_node_is_a_failure(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "site_connector.serve.configure_logs", lambda: None
    )  # would outlive the runner's stream
    north = consortium.north
    never = "The connector never ran here"
    assert never in tessera("inbox", north.path).stderr
    with north.connector_locked():
        said = tessera("inbox", north.path).stderr
    assert "in its first round" in said
    assert never not in said
    failed = tessera("serve", north.path, "--once")
    refused(failed, "4 of 4 nodes did not answer (node-a: ", "run the connector again", status=3)
    assert never not in tessera("inbox", north.path).stderr


def test_upload_before_everybody_signed_and_with_nodes_down(loaded: Consortium) -> None:
    digest, north = noticed(loaded), loaded.north.path
    refused(tessera("upload", north, digest), "no signature yet from north, south, west")
    with loaded.north.connector_locked():
        refused(tessera("upload", north, digest), "a connector already serves this directory")
        with pytest.raises(ConnectorBusy), loaded.north.connector_locked():
            pass


def test_upload_with_every_node_down(loaded: Consortium) -> None:
    """The addresses of the federation file answer nobody: the upload is kept, the status says failed."""
    study = loaded.submit(loaded.study())
    loaded.others_approve(study)
    with loaded.mailbox() as mailbox:
        loaded.connector(mailbox).round()
        loaded.desk(mailbox).approve(study.digest, loaded.steward, loaded.now)
    result = tessera("upload", loaded.north.path, "metformin")
    assert result.exit_code == 3
    assert "did not take it; `tessera site serve` sends it again" in result.stderr
    kept = next(loaded.north.outbox.iterdir())
    assert sorted(file.name for file in kept.iterdir()) == ["node-a", "node-b", "node-c", "node-d"]
    refused(tessera("upload", loaded.north.path, "metformin"), "a study uploads once")


def test_a_foreign_steward_cannot_decide(loaded: Consortium) -> None:
    noticed(loaded)
    loaded.north.steward_key.unlink()
    SigningKey.generate().save(loaded.north.steward_key, PASSPHRASE)
    refused(
        tessera("approve", loaded.north.path, "metformin"),
        "not the steward's key that the federation file lists",
    )
    with loaded.mailbox() as mailbox:
        assert mailbox.pending() == []


def test_envelopes_in_the_mailbox_are_the_signed_ones(loaded: Consortium) -> None:
    digest = noticed(loaded)
    tessera("approve", loaded.north.path, "metformin")
    with loaded.mailbox() as mailbox:
        ((study, envelope, lacking),) = mailbox.pending()
    assert study == digest
    assert lacking == ("node-a", "node-b", "node-c", "node-d")
    assert Envelope.from_canonical(envelope.canonical()) == envelope
