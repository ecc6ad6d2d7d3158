"""The benchmark's output is what the documentation says."""

import json
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from governance.federation import Federation
from mpc_backend.bench import engine_processes
from mpc_backend.bench.cli import bench_app, load_lines
from mpc_backend.bench.consortium import Consortium
from mpc_backend.bench.lines import LINES, Line, Run, UnequalRuns, measurement, own_peak
from mpc_backend.bench.usage import count_peak_anew
from mpc_backend.node.settings import NodeDirectory
from workbench.errors import exit_status

KEYS = {
    "name",
    "n",
    "protocol",
    "seconds",
    "cpu_seconds",
    "bytes_sent",
    "rounds",
    "input_bytes",
    "base_mib",
    "peak_mib",
}
LIMITS = {"multiply": 12.1, "compare64": 42.0, "compare16": 9.0, "equal64": 16.5, "shuffle": 121.0}
"""Bytes per value and node."""


@pytest.fixture(autouse=True)
def no_main_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of the benchmark load the main script of this one; a page tested before may have put itself there."""
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))


@pytest.mark.parametrize("name", LIMITS)
def test_one_json_line_with_traffic_within_its_bound(name: str) -> None:
    n = 64_000
    result = CliRunner().invoke(bench_app, [name, "--n", str(n), "--repeats", "1", "--json"])
    assert result.exit_code == 0, result.output
    measured = json.loads(result.output)
    assert set(measured) == KEYS
    assert len(measured["bytes_sent"]) == 4
    assert max(measured["bytes_sent"]) / n <= LIMITS[name]
    assert measured["rounds"] <= 10


@pytest.mark.parametrize(("name", "limit"), [("sort20", 300), ("sort64", 700)])
def test_sorting_stays_within_its_traffic(name: str, limit: int) -> None:
    result = CliRunner().invoke(bench_app, [name, "--n", "10000", "--repeats", "1", "--json"])
    assert result.exit_code == 0, result.output
    measured = json.loads(result.output)
    assert max(measured["bytes_sent"]) / 10_000 <= limit
    assert measured["rounds"] <= 350


def test_a_line_that_needs_the_whole_table_says_so() -> None:
    found = {}
    for name in ("sort20", "filter_sum"):
        command = [name, "--n", "640", "--repeats", "1", "--json", "--workers", "2"]
        result = CliRunner().invoke(bench_app, command)
        assert result.exit_code == 0, result.output
        found[name] = result.stderr
        assert set(json.loads(result.stdout)) == KEYS
    assert "sort20 needs the whole table at once" in found["sort20"]
    assert found["filter_sum"] == ""


def test_unknown_names_are_refused() -> None:
    assert CliRunner().invoke(bench_app, ["nothing"]).exit_code == 2
    assert CliRunner().invoke(bench_app, ["multiply", "--protocol", "rep9"]).exit_code == 2
    assert CliRunner().invoke(bench_app, ["multiply", "--workers", "0"]).exit_code == 2


def test_every_engine_line_runs() -> None:
    load_lines()
    for name in LINES:
        if LINES[name].prepare.__module__ in ("mpc_backend.bench.engine", "mpc_backend.bench.tables"):
            result = CliRunner().invoke(bench_app, [name, "--n", "100", "--repeats", "1"])
            assert result.exit_code == 0, (name, result.output)


@pytest.mark.processes
def test_nodes_as_processes_answer_a_question() -> None:
    command = ["ranking", "--n", "600", "--repeats", "2", "--no-warm-up", "--processes", "--json"]
    result = CliRunner().invoke(bench_app, command)
    assert result.exit_code == 0, result.output
    measured = json.loads(result.output)
    assert set(measured) == KEYS
    assert (measured["name"], measured["n"], measured["protocol"]) == ("ranking", 600, "rep4")
    assert len(measured["bytes_sent"]) == 4 and min(measured["bytes_sent"]) > 100_000
    assert 100 < measured["rounds"] < 1000
    assert 0 < measured["seconds"] < 60 and 0 < measured["cpu_seconds"] < 120
    assert 30 < measured["peak_mib"] < 1024


@pytest.mark.processes
def test_an_operation_costs_the_same_over_real_links() -> None:
    """Two workers at each node: threads here, processes there."""
    command = [
        "compare16",
        "--n",
        "20000",
        "--repeats",
        "1",
        "--json",
        "--protocol",
        "rep3",
        "--workers",
        "2",
    ]
    within, between = (json.loads(_printed([*command, *more])) for more in ([], ["--processes"]))
    assert set(between) == KEYS
    for figure in ("name", "n", "protocol", "bytes_sent", "rounds"):
        assert between[figure] == within[figure]
    assert 0 < between["seconds"] < 60


@pytest.mark.parametrize(
    "arguments", [["multiply", "--protocol", "plain"], ["multiply", "--protocol", "rep9"]]
)
def test_lines_that_no_separate_nodes_can_be_asked(arguments: list[str]) -> None:
    result = CliRunner().invoke(bench_app, [*arguments, "--processes"])
    assert result.exit_code == 2
    assert "rep9" in result.output or "rep3, rep4" in result.output


@pytest.mark.processes
def test_a_node_that_breaks_off_ends_the_others_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One node cannot read its key; the others, who would wait for it half a minute, are not waited for."""
    monkeypatch.setattr(engine_processes, "_nodes", damaged)
    processes: list[Any] = []
    end = engine_processes._end

    def ending(process: Any, *raised: Any) -> None:
        processes.append(process)
        end(process, *raised)

    monkeypatch.setattr(engine_processes, "_end", ending)
    load_lines()
    began = time.monotonic()
    with pytest.raises(engine_processes.NodeFailed) as failed:
        engine_processes.measure_engine("multiply", "rep3", n=10, repeats=1)
    assert exit_status(failed.value) == 3
    assert time.monotonic() - began < engine_processes.CONNECT_SECONDS
    assert [process.is_alive() for process in processes] == [False] * 3


def damaged(folder: Path, protocol: str) -> Federation:
    """Nodes of which the last one's key is gone."""
    federation = Consortium(folder, protocol).federation
    NodeDirectory(folder / federation.nodes[-1].id).identity_key.write_bytes(b"")
    return federation


def test_a_line_of_several_has_its_own_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, which knows nothing of what this one has in use."""
    load_lines()
    monkeypatch.setattr("mpc_backend.bench.cli.LINES", {"bit_to_ring": LINES["bit_to_ring"]})
    held = np.ones(1 << 26)
    measured = json.loads(_printed(["--n", "1000", "--repeats", "1", "--no-warm-up", "--json"]))
    assert 100 < measured["base_mib"] <= measured["peak_mib"] < held.nbytes / 2**20
    assert measured["input_bytes"] == 128, "of 1,000 truth values, in words"


def test_a_peak_is_counted_anew() -> None:
    """Otherwise it is said on standard error that it is not."""
    if not count_peak_anew():
        pytest.skip("this kernel has no /proc/self/clear_refs")
    held = np.ones(1 << 25)
    before = own_peak()
    del held
    assert count_peak_anew()
    assert own_peak() < before - 200


@pytest.mark.parametrize(
    ("second", "says"),
    [(Run(1, 1, [8, 9], 3), r"\[8, 9\]"), (Run(1, 1, [8, 8], 4), "rounds 3 and 4")],
)
def test_runs_that_send_differently_are_no_measurement(second: Run, says: str) -> None:
    runs = [Run(1.0, 2.0, [8, 8], 3), second]
    with pytest.raises(UnequalRuns, match=says) as unequal:
        measurement(Line("a", 1, _nothing), 1, "rep3", runs, runs, 8, 1.0, 2.0)
    assert exit_status(unequal.value) == 3
    varying = measurement(Line("a", 1, _nothing, varies=True), 1, "rep3", runs, runs, 8, 1.0, 2.0)
    assert (varying.bytes_sent, varying.rounds) == (max(one.bytes_sent for one in runs), runs[1].rounds)


def _nothing(*_: object) -> Any:
    raise AssertionError("not prepared")


def test_a_wide_area_link_takes_its_time() -> None:
    measured = json.loads(
        _printed(["multiply", "--n", "50000", "--repeats", "1", "--json", "--wan", "30ms,10Mbit"])
    )
    transfer, delay = 8 * max(measured["bytes_sent"]) / 10e6, 0.030 * (measured["rounds"] - 1)
    assert transfer + delay <= measured["seconds"] < transfer + delay + 2


@pytest.mark.parametrize("wan", ["fast", "20ms", "20ms,0Mbit", "-1ms,5Mbit", "20ms,200Mbit "])
def test_links_nobody_can_read_are_refused(wan: str) -> None:
    result = CliRunner().invoke(bench_app, ["multiply", "--wan", wan])
    assert result.exit_code == 2
    assert "20ms,200Mbit" in result.output


def _printed(command: list[str]) -> str:
    result = CliRunner().invoke(bench_app, command)
    assert result.exit_code == 0, result.output
    return result.output
