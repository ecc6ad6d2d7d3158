"""docs/performance.md holds what its lines of JSON say, and what can be measured can be measured again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mpc_backend.bench.cli import bench_app, load_lines
from mpc_backend.bench.lines import LINES, Measurement, UnequalRuns
from tests.performance import __main__ as command
from tests.performance import page, runs
from tests.performance.page import BLOCKS, PAGE, number, renewed, size
from tests.performance.runs import PROTOCOLS, TASKS, Record, Task, key, load, save


def record(how: str, name: str, protocol: str, **changed: object) -> Record:
    figures = Measurement(
        name=name, n=1_000_000, protocol=protocol, seconds=0.05, cpu_seconds=0.07, bytes_sent=[8_000_000, 7_000_000],
        rounds=1, input_bytes=16_000_000, base_mib=100, peak_mib=252.6,
    )  # fmt: skip
    return {"how": how, **figures.model_dump(), "command": "", **changed}


def test_the_page_says_what_the_lines_say() -> None:
    text, records = PAGE.read_text(encoding="utf-8"), load()
    for name in BLOCKS:
        assert text.count(f"<!-- begin {name} -->") == text.count(f"<!-- end {name} -->") == 1
    if records:  # until the first `make performance` there are none
        assert renewed(text, records) == text


def test_tables_are_written_anew_and_words_stay() -> None:
    text = "\n\n".join(["a", *(f"<!-- begin {name} -->\nold\n<!-- end {name} -->" for name in BLOCKS), "b"])
    made = [record("in process", "multiply", "rep3"), record("in process", "multiply", "rep4", seconds=0.2)]
    made += [record("processes", "multiply", one, peak_mib=1000.4) for one in PROTOCOLS]
    made += [record("in process", "shuffle", "rep3", bytes_sent=[80_000_000])]
    kernels = {"how": "kernels", "protocol": "none", "seconds": 40.0, "cpu_seconds": 39.5}
    made += [{**kernels, "name": "compile"}, {**kernels, "name": "load"}]
    found = renewed(text, {key(one): one for one in made})
    assert found.startswith("a\n") and found.endswith("\nb") and "old" not in found
    assert "| `multiply` | 10^6 | 0.06 / 0.1 | 0.050 (0.070) / 0.200 (0.070) | 8 / 12.1 |" in found
    assert "| 8 / 12.1 | 8.00 / 8.00 | 1 / 1 | 253 / 253 |" in found
    assert "| `multiply` | 16.0 | 900 (59.0) | 900 (59.0) |" in found
    assert "| `multiply` | 10^6 | 0.050 / 0.200 | 0.050 / 0.050 | 10^6 | - / - |" in found
    assert "`multiply` under `rep4` (0.200 s, aim 0.1); `shuffle` under `rep3` (80.0 bytes, aim 54)." in found
    assert "takes 40.0 s (39.5 s of processor time)" in found
    lines = found.partition("```json\n")[2].partition("\n```")[0].splitlines()
    assert [set(json.loads(line)) for line in lines] == [set(Measurement.model_fields)] * 3
    assert renewed(found, {key(one): one for one in made}) == found


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0294, "0.029"), (1.236, "1.24"), (13.95, "13.9"), (131.7, "132"), (1985.2, "1,985")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("n", "text"), [(1_000_000, "10^6"), (500_000, "5 * 10^5"), (20_000, "20,000"), (20_667, "20,667")]
)
def test_sizes_are_short(n: int, text: str) -> None:
    assert size(n) == text


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A page and a file of lines of its own, and few small lines, measured in this process."""
    (tmp_path / "page.md").write_text("words\n<!-- begin engine -->\n<!-- end engine -->\n", encoding="utf-8")
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    few = [
        replace(one, n=100)
        for one in TASKS
        if one.how == "in process" and one.name in ("multiply", "compare16")
    ]
    for module in (runs, command):
        monkeypatch.setattr(module, "TASKS", tuple(few))
    monkeypatch.setattr(runs, "alone", lambda once, module: once())
    monkeypatch.setattr(command, "load", lambda: load(tmp_path / "lines.jsonl"))
    monkeypatch.setattr(command, "save", lambda records: save(records, tmp_path / "lines.jsonl"))
    yield tmp_path


def test_what_is_measured_replaces_what_was_kept_and_the_rest_stays(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments in ([], ["--only", "multiply"], ["--page"]):
        monkeypatch.setattr("sys.argv", ["performance", *arguments])
        assert command.main() == 0
    kept = load(here / "lines.jsonl")
    assert list(kept) == [
        ("in process", name, one) for name in ("multiply", "compare16") for one in PROTOCOLS
    ]
    assert "| `multiply` | 10^6 | 0.06 / 0.1 | 0.0" in (here / "page.md").read_text(encoding="utf-8")
    for one in kept.values():
        words = one["command"].split()
        assert words[:2] == ["tessera", "bench"]
        printed = json.loads(CliRunner().invoke(bench_app, words[2:]).output)
        assert [
            printed[name] for name in ("name", "n", "protocol", "bytes_sent", "rounds", "input_bytes")
        ] == [one[name] for name in ("name", "n", "protocol", "bytes_sent", "rounds", "input_bytes")]


def test_a_line_that_cannot_be_measured_keeps_no_other_from_it(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = Task.measured

    def once(task: Task) -> Iterator[Record]:
        if task.name == "multiply":
            raise UnequalRuns("runs of multiply differ")
        yield from measured(task)

    monkeypatch.setattr(Task, "measured", once)
    monkeypatch.setattr("sys.argv", ["performance"])
    assert command.main() == 1
    assert "multiply was not measured: runs of multiply differ" in capsys.readouterr().err
    assert [name for _, name, _ in load(here / "lines.jsonl")] == ["compare16"] * 2


def test_every_line_that_is_measured_exists() -> None:
    load_lines()
    assert {one.name for one in TASKS if one.how != "kernels"} <= set(LINES)
    asked = Task("wan", "join", 50_000, warm_up=False).command("rep4")
    assert asked == (
        "tessera bench join --protocol rep4 --n 50000 --repeats 1 --no-warm-up --wan 20ms,200Mbit --json"
    )
