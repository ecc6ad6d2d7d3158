"""What `tessera study run` prints and saves of an answer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from mpc_backend.analyses.base import Result
from tests.workbench import samples
from tests.workbench.test_parts import count
from workbench.client import Answer
from workbench.parts.ranking import WARNING
from workbench.study_cli import _deliver


def delivered(result: Result, capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    """What is printed; tables are saved in the folder."""
    receipt = SimpleNamespace(model_dump_json=lambda indent: "{}")
    _deliver(Answer(result, receipt, "7" * 64), folder, as_json=False)  # type: ignore[arg-type]
    return capsys.readouterr().out


def saved(folder: Path) -> dict[str, pd.DataFrame]:
    return {path.stem: pd.read_csv(path) for path in folder.glob("*.csv")}


def test_a_survival_answer_is_delivered_with_all_its_tables(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    result = samples.survival()
    said = delivered(result, capsys, tmp_path)
    order = ["Groups, with median", "Differences in", "Tests", "log-rank", "At risk, with", "Curves"]
    assert [said.index(heading) for heading in order] == sorted(said.index(heading) for heading in order)
    tables = saved(tmp_path)
    assert set(tables) == {"groups", "contrasts", "tests", "at_risk", "table"}
    groups = tables["groups"].set_index(["arm", "curve"])
    arm = result.arms[0]
    assert arm.curve.median is not None
    assert arm.curve.rmst is not None
    main = groups.loc[(arm.arm, "main")]
    assert (main["median"], main["tau"]) == (arm.curve.median.estimate, 60)
    assert main["rmst"] == pytest.approx(arm.curve.rmst.estimate)
    assert list(tables["tests"]["chi2"]) == [18.2, 21.7]
    assert tables["contrasts"].loc[0, "difference"] == 5.3
    last = tables["at_risk"].groupby("arm").last()
    assert list(last["at_risk"]) == ["hidden", "hidden"]
    assert "hidden" in said
    assert "<NA>" not in said
    assert "None" not in said
    assert "nan" not in said.lower()


def test_a_hidden_count_is_the_word(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = delivered(count(), capsys, tmp_path)
    assert "hidden" in said
    assert "<NA>" not in said
    assert list(saved(tmp_path)["table"]["persons"]) == ["48210", "1930", "hidden", "hidden"]


def test_the_warning_of_a_ranking_is_read_before_any_number(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = delivered(samples.ranking(), capsys, tmp_path)
    assert said.startswith(WARNING)
    assert said.index("regimen 014") > 0
