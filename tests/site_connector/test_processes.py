"""Three connectors as processes of their own, four real nodes: from submission to a count, and no listening port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from governance.approval import InvestigatorSubmission
from governance.envelope import sign_document
from governance.federation import Federation
from governance.keys import SealingKey, SigningKey
from governance.study import StudyProtocol
from mpc_backend.client.nodes import NodeSet
from mpc_backend.client.runs import run
from mpc_backend.node.local import LocalNodes, init_local_nodes
from site_connector import linkage
from site_connector.decisions import StewardDesk
from site_connector.directory import SiteDirectory
from site_connector.loading import Extract, load
from site_connector.mailbox import Mailbox
from site_connector.setup import init_site, pin_federation
from tests.site_connector.consortium import COHORT, PASSPHRASE, SITES, VARIABLES
from tests.site_connector.extract import ADULTS_ON_METFORMIN, PERSONS

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(900)]
PATIENCE = 240.0


def command(*words: object) -> subprocess.CompletedProcess[str]:
    """Run one ``tessera site`` command."""
    environment = {**os.environ, "TESSERA_STEWARD_PASSPHRASE": PASSPHRASE.decode()}
    arguments = [sys.executable, "-m", "site_connector", *map(str, words)]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)


@contextmanager
def serving(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (directory / "connector.log").open("wb") as output:
        arguments = [sys.executable, "-m", "site_connector", "serve", str(directory)]
        process = subprocess.Popen(arguments, stderr=output, stdout=output)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert status == 0, "the connector stops gracefully"


def listening_ports(pid: int) -> set[str]:
    """Local addresses on which a process listens, as `lsof -i -sTCP:LISTEN -p PID` finds them."""
    own = set()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            own.add(os.readlink(entry.path))
        except FileNotFoundError:
            continue
    listening = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            listens = fields[3] == "0A" if table.startswith("tcp") else fields[2].endswith(":0000")
            if listens and f"socket:[{fields[9]}]" in own:
                listening.add(fields[1])
    return listening


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"gave up waiting: {what}"
        time.sleep(0.3)


def test_the_listening_check_itself_finds_a_listener() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)):
        assert listening_ports(os.getpid())


def test_three_connectors_four_nodes(tmp_path: Path, extract: Path) -> None:
    investigator, researcher, reading = SigningKey.generate(), SigningKey.generate(), SealingKey.generate()
    nodes_folder = tmp_path / "nodes"
    nodes_folder.mkdir()
    nodes = init_local_nodes(nodes_folder, [f"Operator {n}" for n in range(4)])
    sites = [
        init_site(tmp_path / s, site_id=s, name=f"Hospital {s}", passphrase=PASSPHRASE, synthetic=True)
        for s in SITES
    ]
    federation = Federation.from_value(
        {"name": "Example", "version": 1, "protocol": "rep4", "nodes": nodes, "sites": sites}
    )
    federation.save(tmp_path / "federation.json")
    directories = {site: SiteDirectory(tmp_path / site) for site in SITES}
    identifiers, linkage_file = tmp_path / "identifiers.csv", tmp_path / "linkage.json"
    people = [f"{n},756.{n:04}\n" for n in range(1, PERSONS + 1)]
    identifiers.write_text("".join(["person_id,national_id\n", *people]))
    for directory in directories.values():
        pin_federation(directory, tmp_path / "federation.json")
        load(directory, Extract("omop", extract, identifiers=identifiers), datetime.now(UTC))
    key = linkage.share(
        directories["north"], linkage_file, directories["north"].steward(PASSPHRASE), datetime.now(UTC)
    )
    for directory in directories.values():
        linkage.take(directory, linkage_file, datetime.now(UTC))
    now = datetime.now(UTC).replace(microsecond=0)
    study = study_of(federation, investigator, researcher, reading, now, key)
    with ExitStack() as stack:
        stack.enter_context(LocalNodes(nodes_folder, federation)).start()
        client = stack.enter_context(NodeSet(federation))
        client.post_study(study)
        submission = InvestigatorSubmission(study_digest=study.digest, submitted_at=now)
        client.post_envelope(study.digest, sign_document(submission, investigator))
        processes = [stack.enter_context(serving(directory.path)) for directory in directories.values()]
        for site, directory in directories.items():
            with Mailbox(directory.mailbox, federation, site) as mailbox:
                until(lambda box=mailbox: has_dry_run(box), f"a dry run at {site}")
                desk = StewardDesk(directory, mailbox)
                desk.approve("metformin", directory.steward(PASSPHRASE), datetime.now(UTC), reason="in order")
        for site, directory in directories.items():
            with Mailbox(directory.mailbox, federation, site) as mailbox:
                until(lambda box=mailbox: delivered(box), f"an upload of {site}")
        for process in processes:
            assert process.poll() is None
            assert listening_ports(process.pid) == set()
        again = command("upload", directories["west"].path, "metformin")
        assert again.returncode == 2
        assert "connector already serves" in again.stderr
        answer = run(client, study, "count", signing_key=researcher, sealing_key=reading)
        assert answer.result.count.model_dump()["value"] == 3 * ADULTS_ON_METFORMIN
        assert answer.result.population.model_dump()["value"] == 3 * PERSONS
        answer = run(client, study, "once", signing_key=researcher, sealing_key=reading)
        assert answer.result.count.model_dump()["value"] == ADULTS_ON_METFORMIN
        assert answer.result.population.model_dump()["value"] == PERSONS
        answer = run(client, study, "curve", signing_key=researcher, sealing_key=reading)
        treated, _ = answer.result.arms
        died = sum(number % 8 == 0 for number in range(1, ADULTS_ON_METFORMIN + 1))
        assert (treated.n.value, treated.events.value) == (ADULTS_ON_METFORMIN, died)
    again = command("upload", directories["west"].path, "metformin")
    assert again.returncode == 2
    assert "a study uploads once" in again.stderr
    assert again.stderr.count("\n") == 1


CURVE = {
    "outcome": "death", "arm": "drug", "arms": ["metformin", "glipizide"], "time_unit": "month", "horizon": 12,
    "linkage": True,
}  # fmt: skip


def has_dry_run(mailbox: Mailbox) -> bool:
    return any(item.dry_run is not None for item in mailbox.inbox(datetime.now(UTC)))


def delivered(mailbox: Mailbox) -> bool:
    return [one.state for one in mailbox.uploads()] == ["delivered"]


def study_of(
    federation: Federation,
    investigator: SigningKey,
    researcher: SigningKey,
    reading: SealingKey,
    now: datetime,
    linkage_key: str,
) -> StudyProtocol:
    return StudyProtocol.from_value(
        {
            "title": "Metformin in type 2 diabetes",
            "short_name": "metformin",
            "purpose": {
                "use": "scientific_research",
                "description": "How many persons take metformin.",
                "legal_basis": "GDPR 9(2)(j)",
                "ethics_reference": "2026-17",
            },
            "investigator": {"role": "PI", "organisation": "University", "key": investigator.public},
            "federation": federation.digest,
            "protocol": "rep4",
            "sites": list(SITES),
            "cohorts": {"treated": COHORT},
            "analyses": [
                {"id": "count", "kind": "cohort_count", "cohort": "treated"},
                {"id": "once", "kind": "cohort_count", "cohort": "treated", "parameters": {"linkage": True}},
                {"id": "curve", "kind": "survival", "cohort": "treated", "parameters": CURVE},
            ],
            "variables": {name: VARIABLES[name] for name in ("drug", "death")},
            "linkage": {"key": linkage_key, "identifiers": ["national_id"]},
            "disclosure": {"release": "exact"},
            "synthetic_data": True,
            "recipients": [
                {
                    "id": "researcher",
                    "role": "researcher",
                    "organisation": "University",
                    "signing_key": researcher.public,
                    "sealing_key": reading.public,
                }
            ],
            "budget": {"runs": 5},
            "validity": {"not_before": now - timedelta(days=1), "not_after": now + timedelta(days=1)},
            "nonce": "00" * 16,
        }
    )
