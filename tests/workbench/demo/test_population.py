"""The generator: reproducible, with the truth it claims, and with the realism it counts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.demo import resistance
from workbench.demo.population import HOSPITALS, Population, make_population
from workbench.demo.similar import marker_columns


def test_same_seed_gives_the_same_records_and_another_seed_does_not(small: Population) -> None:
    again, other = make_population(2_000, seed=7), make_population(2_000, seed=8)
    for name, frame in vars(small).items():
        pd.testing.assert_frame_equal(frame, getattr(again, name))
    assert not small.results.equals(other.results)


def test_truth_does_not_depend_on_the_seed() -> None:
    first, second = resistance.default_truth(), resistance.default_truth()
    np.testing.assert_array_equal(first.resistance, second.resistance)
    distances = np.abs(first.centres[:, None] - first.centres[None]).sum(axis=2)
    assert distances[~np.eye(len(distances), dtype=bool)].min() >= 7


def test_sizes_and_case_mix(full: Population) -> None:
    assert full.resistance["eligible"].sum() == 20_000
    assert len(full.diabetes) == 5_000
    assert full.persons["person"].is_unique
    shares = full.persons["hospital"].value_counts(normalize=True).sort_index()
    np.testing.assert_allclose(shares, [0.36, 0.34, 0.30], atol=0.01)
    ages = full.resistance.groupby("hospital")["age"].mean()
    assert ages.max() - ages.min() > 5, "hospitals must differ in case mix"
    assert len(HOSPITALS) == ages.size


def test_records_lie_within_observation_and_before_death(full: Population) -> None:
    people = full.persons.set_index("person")
    for frame, column in ((full.conditions, "date"), (full.drugs, "date"), (full.results, "date")):
        joined = people.loc[frame["person"]]
        dates = frame[column].to_numpy()
        assert (dates >= joined["start"].to_numpy()).all()
        assert (dates <= joined["end"].to_numpy()).all()
    dead = full.persons.dropna(subset="death")
    assert (dead["death"] == dead["end"]).all()
    assert (full.persons["birth"] < full.persons["start"]).all()


def test_absent_markers_leave_no_record(full: Population) -> None:
    columns = marker_columns()
    tested = full.resistance[full.resistance["panel"]]
    recorded = full.results["key"].astype(str).str.startswith("marker_").sum()
    assert recorded == tested[columns].to_numpy().sum()
    assert (full.results["key"] == "genotype_panel").sum() == len(tested)


def test_regimens_are_unequally_popular(full: Population) -> None:
    sizes = full.resistance["regimen"].value_counts()
    assert sizes.size == 100
    assert sizes.iloc[0] > 10 * sizes.iloc[30] > 10


def test_closed_form_restricted_mean_agrees_with_drawn_times() -> None:
    hazard = np.array([0.005, 0.03, 0.2])
    rng = np.random.default_rng(3)
    days = np.ceil(rng.exponential(1 / hazard[:, None], (3, 400_000)) * resistance.DAYS_PER_MONTH)
    months = np.ceil(days * 16 / 487)
    drawn = np.stack([(months > month).mean(axis=1) for month in range(24)]).sum(axis=0)
    np.testing.assert_allclose(drawn, resistance.restricted_mean(hazard, 24), rtol=5e-3)


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 500"):
        make_population(100)
