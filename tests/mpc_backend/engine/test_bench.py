"""The benchmark's output is what the documentation says."""

import json

import pytest
from typer.testing import CliRunner

from mpc_backend.bench.cli import bench_app, load_lines
from mpc_backend.bench.lines import LINES

KEYS = {"name", "n", "protocol", "seconds", "cpu_seconds", "bytes_sent", "rounds", "peak_mib"}
LIMITS = {"multiply": 12.1, "compare64": 42.0, "compare16": 9.0, "equal64": 16.5, "shuffle": 121.0}
"""Bytes per value and node."""


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


def test_unknown_names_are_refused() -> None:
    assert CliRunner().invoke(bench_app, ["nothing"]).exit_code == 2
    assert CliRunner().invoke(bench_app, ["multiply", "--protocol", "rep9"]).exit_code == 2


def test_every_engine_line_runs() -> None:
    load_lines()
    for name in LINES:
        if LINES[name].prepare.__module__ in ("mpc_backend.bench.engine", "mpc_backend.bench.tables"):
            result = CliRunner().invoke(bench_app, [name, "--n", "100", "--repeats", "1"])
            assert result.exit_code == 0, (name, result.output)


@pytest.mark.processes
def test_nodes_as_processes_answer_a_question() -> None:
    command = ["ranking", "--n", "600", "--repeats", "1", "--processes", "--json"]
    result = CliRunner().invoke(bench_app, command)
    assert result.exit_code == 0, result.output
    measured = json.loads(result.output)
    assert set(measured) == KEYS
    assert (measured["name"], measured["n"], measured["protocol"]) == ("ranking", 600, "rep4")
    assert len(measured["bytes_sent"]) == 4 and min(measured["bytes_sent"]) > 100_000
    assert 100 < measured["rounds"] < 1000
    assert 0 < measured["seconds"] < 60 and 0 < measured["cpu_seconds"] < 120
    assert 30 < measured["peak_mib"] < 1024


@pytest.mark.parametrize("arguments", [["multiply"], [], ["ranking", "--protocol", "plain"]])
def test_lines_that_no_separate_nodes_can_be_asked(arguments: list[str]) -> None:
    result = CliRunner().invoke(bench_app, [*arguments, "--processes"])
    assert result.exit_code == 2
    assert "ranking, survival" in result.output
