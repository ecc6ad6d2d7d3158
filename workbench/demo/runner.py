"""The main job on real processes: four nodes, three hospitals with connectors, signed studies, answers, judgement.

Everything goes the way it goes in a consortium. Nodes and connectors are processes of their own that speak
TLS on loopback; studies are signed by the investigator and by every steward; shares are uploaded by
connectors; answers are opened with the recipients' keys. Only the population and the pooled cleartext
answers are known to this process.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from governance.federation import Federation
from governance.receipt import verify_receipt
from governance.study import StudyProtocol
from mpc_backend.analyses.cohort_count import CountResult
from mpc_backend.analyses.ranking_result import RankingResult
from mpc_backend.analyses.survival_result import SurvivalResult
from mpc_backend.node.local import LocalNodes
from workbench.client import Answer, Client
from workbench.demo import answers
from workbench.demo.earlier import Earlier
from workbench.demo.examples import PATIENT, examples_folder, patient_file
from workbench.demo.extracts import write_extracts
from workbench.demo.hospital import Hospital
from workbench.demo.judge import Check, judge_count
from workbench.demo.layout import HOSPITAL_WITH_WORKBENCH, PHYSICIAN, RESEARCHER, Layout, people, set_up
from workbench.demo.memory import Peaks
from workbench.demo.population import HOSPITALS, Population, make_population
from workbench.demo.processes import Processes
from workbench.demo.similar import Similar
from workbench.demo.studies import NAMES, example_study
from workbench.demo.truth import attrition, comparison

Say = Callable[[str], None]
ENVIRONMENT = {"TESSERA_SITE_POLL_SECONDS": "1", "OMP_NUM_THREADS": "1"}
UPLOADED = ("count", "survival", "ranking")
"""Studies whose shares are uploaded once approved; a feasibility study is answered run by run."""


@dataclass
class Story:
    """One question with its answer: lines to read, the result, and how it compares."""

    title: str
    lines: list[str]
    checks: list[Check]
    result: dict[str, Any]
    run_id: str
    seconds: float

    @property
    def agrees(self) -> bool:
        """Whether every comparison with the pooled cleartext answer agrees."""
        return all(check.agrees for check in self.checks)


@dataclass
class Report:
    """What the demonstration found, how long each stage took, and the most memory (MiB) each process had in use."""

    stories: list[Story] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    peak_mib: dict[str, float] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether every answer agrees with the pooled cleartext one."""
        return bool(self.stories) and all(story.agrees for story in self.stories)

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "agrees": self.agrees,
            "stages": {name: round(seconds, 2) for name, seconds in self.seconds.items()},
            "peak_mib": self.peak_mib,
            "stories": [
                {
                    "title": story.title,
                    "agrees": story.agrees,
                    "comparisons": len(story.checks),
                    "differences": [str(check) for check in story.checks if not check.agrees],
                    "seconds": round(story.seconds, 2),
                    "run": story.run_id,
                    "result": story.result,
                }
                for story in self.stories
            ],
        }


class Demonstration:
    """The consortium and its questions; use as a context manager, which ends every process it started.

    ``start`` brings it up to the point where questions can be asked; `ask` asks the examples' questions.
    """

    def __init__(
        self,
        root: Path,
        patients: int = 20_000,
        seed: int = 1,
        say: Say = lambda line: None,
        asked_about: Sequence[str] = (PATIENT,),
    ) -> None:
        """``patients``: over three hospitals; ``asked_about``: the examples' patients the physician asks about."""
        self.layout = Layout(root)
        self.report = Report()
        self._patients, self._seed, self._say = patients, seed, say
        self._asked_about = [patient_file(name) for name in asked_about]
        self._told = Earlier()
        self._exits = ExitStack()
        self.federation: Federation
        self.population: Population
        self.processes: Processes
        self._peaks: Peaks
        self.studies: dict[str, StudyProtocol] = {}

    def __enter__(self) -> Demonstration:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Say what is done now, and note how long it took."""
        self._say(f"{name} ...")
        began = time.monotonic()
        yield
        self.report.seconds[name] = time.monotonic() - began

    def client(self, person: str) -> Client:
        """The consortium as one of the demonstration's people uses it."""
        return Client(self.federation, self.layout.identity(person))

    # ---- bringing it up

    def start(self) -> None:
        """Set up, load, sign and upload: afterwards the nodes hold what the studies need.

        Raises:
            DemonstrationFailed: a process ended or stays silent.
        """
        with self.stage("Keys, federation file, four nodes and three hospitals"):
            self.federation = set_up(self.layout)
            self._peaks = self._exits.enter_context(Peaks())
            self._peaks.watch("demonstration", os.getpid())
            self.processes = self._exits.enter_context(Processes(self.layout.logs, ENVIRONMENT, self._peaks))
            nodes = self._exits.enter_context(LocalNodes(self.layout.nodes, self.federation))
            self._exits.callback(self._stop, nodes)
            hospitals = {name: self._hospital(name) for name in HOSPITALS}
        with ThreadPoolExecutor(max_workers=4) as pool, self._ending(nodes):
            started = pool.submit(nodes.start)
            with self.stage("Synthetic extracts"):
                self._write_extracts(hospitals)
            with self.stage("Nodes up, studies submitted"):
                started.result()
                for node in self.federation.nodes:
                    self._peaks.watch(node.id, nodes.pid(node.id))
                self._submit()
            with self.stage("Extracts loaded, studies tried on each hospital's data and approved"):
                list(pool.map(self._take_part, hospitals.values()))
            with self.stage("Shares uploaded"):
                digests = [self.studies[name].digest for name in UPLOADED]
                list(pool.map(lambda hospital: hospital.await_uploads(digests), hospitals.values()))

    @contextmanager
    def _ending(self, nodes: LocalNodes) -> Iterator[None]:
        """On any error or interrupt: end all processes first, so that no thread goes on waiting for them."""
        try:
            yield
        except BaseException:
            self._stop(nodes)
            raise

    def _stop(self, nodes: LocalNodes) -> None:
        """End nodes and all other processes at the same time: none needs another to end."""
        with ThreadPoolExecutor(max_workers=2) as pool:
            for stopped in [pool.submit(self.processes.stop), pool.submit(nodes.stop)]:
                stopped.result()

    def _hospital(self, name: str) -> Hospital:
        return Hospital(name, self.layout, self.federation, self.processes)

    def _write_extracts(self, hospitals: dict[str, Hospital]) -> None:
        self.population = make_population(self._patients, self._seed)
        for extract in write_extracts(self.population, self.layout, self._seed):
            hospitals[extract.hospital].start_load()

    def _submit(self) -> None:
        recipients = people(self.layout)
        investigator = recipients[RESEARCHER]
        for name in NAMES:
            study = example_study(name, self.federation, investigator, recipients)
            self.client(RESEARCHER).submit(study)
            self.studies[name] = study

    def _take_part(self, hospital: Hospital) -> None:
        hospital.serve()
        hospital.approve([study.digest for study in self.studies.values()])

    # ---- asking

    def ask(self) -> Report:
        """Ask every question of the examples and judge the answers."""
        with self.stage("Count"):
            self._tell(self._count())
        with self.stage("Feasibility count"):
            self._tell(self._feasibility())
        with self.stage("Survival"):
            self._tell(self._survival())
        with self.stage("Ranking"):
            similar = Similar(self.population, [HOSPITALS.index(HOSPITAL_WITH_WORKBENCH)])
            for path in self._asked_about:
                self._tell(self._ranking(similar, path))
        self.report.peak_mib = self._peaks.mib()
        return self.report

    def _tell(self, story: Story) -> None:
        self.report.stories.append(story)
        receipt = (
            f"  Run {story.run_id[:12]}, {story.seconds:.1f} s from question to answer; receipt verified."
        )
        for line in ("", story.title, *story.lines, *answers.verdict(story.checks), receipt, ""):
            self._say(line)

    def _run(self, person: str, study: str, analysis: str, **how: Any) -> tuple[Answer, float]:
        began = time.monotonic()
        answer = self.client(person).study(self.studies[study].digest).run(analysis, **how)
        verify_receipt(self.federation, answer.receipt)
        return answer, time.monotonic() - began

    def _count(self, **how: Any) -> Story:
        answer, seconds = self._run(RESEARCHER, "count", "attrition")
        return self._counted("How many adults with type 2 diabetes start metformin?", answer, seconds)

    def _feasibility(self) -> Story:
        text = (examples_folder() / "cohorts" / "type-2-diabetes-on-metformin.cohort").read_text("utf-8")
        answer, seconds = self._run(RESEARCHER, "feasibility", "count", parameters={"cohort": text})
        title = "The same cohort counted under the standing feasibility study, without a new signature"
        return self._counted(title, answer, seconds)

    def _counted(self, title: str, answer: Answer, seconds: float) -> Story:
        result = answer.result
        assert isinstance(result, CountResult)
        exact = [len(self.population.persons), *(count for _, count in attrition(self.population))]
        checks = judge_count(self.population, result)
        return _story(title, answers.count_lines(result, exact), checks, answer, seconds)

    def _survival(self) -> Story:
        answer, seconds = self._run(RESEARCHER, "survival", "comparison")
        result, pooled = answer.result, comparison(self.population)
        assert isinstance(result, SurvivalResult)
        from workbench.demo.judge_survival import judge_survival  # noqa: PLC0415  (see `_ranking`)

        checks = judge_survival(pooled, result)
        title = "Heart failure or death after a DPP-4 inhibitor or a sulfonylurea, adjusted by strata"
        return _story(title, answers.survival_lines(result, pooled), checks, answer, seconds)

    def _ranking(self, similar: Similar, path: Path) -> Story:
        facts = json.loads(path.read_text(encoding="utf-8"))
        person = f"{PHYSICIAN}-{HOSPITAL_WITH_WORKBENCH}"
        answer, seconds = self._run(person, "ranking", "ranking", facts=facts)
        result = answer.result
        assert isinstance(result, RankingResult)
        from workbench.demo.judge_ranking import judge_ranking  # noqa: PLC0415  (a second of SciPy: not before nodes start)

        checks = judge_ranking(similar, facts, result, self._told)
        title = f"Which of 100 regimens works longest for the patient in {path.name}?"
        return _story(title, answers.ranking_lines(result, similar, facts), checks, answer, seconds)


def _story(title: str, lines: list[str], checks: list[Check], answer: Answer, seconds: float) -> Story:
    result = answer.result.model_dump(mode="json")
    return Story(title, lines, checks, result, answer.run_id, seconds)
