"""Table one against R, quartiles at every size, and suppression that no sum undoes."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses import regression_tables
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.errors import LocalDataError, ParametersRefused
from mpc_backend.analyses.plain import opened_outputs
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.analyses.suppression import shown_cells
from mpc_backend.testing import World
from mpc_backend.try_.declare import codes_of
from mpc_backend.try_cli import try_app
from tests.validation.description import lines
from tests.validation.holding import agreed

EXACT = DisclosurePolicy(release="exact", minimum_sites=1, rounding=1)
FINE = DisclosurePolicy(minimum_cell=10, rounding=1, minimum_sites=1)
SMALL = {
    "by": "g", "groups": ["a", "b"],
    "numbers": [{"variable": "x", "centre": 0, "scale": 1, "low": -9, "high": 9, "step": 0.5}],
    "categories": [{"variable": "c", "levels": ["u", "v", "w"]}],
}  # fmt: skip


def made(*cells, group="a", seed=1):
    """Persons of a group: so many at each level of c, the last number with none."""
    levels = np.repeat(["u", "v", "w", None], [*cells, *[0] * (4 - len(cells))])
    values = np.random.default_rng(seed).normal(size=len(levels)).clip(-4, 4)
    return pd.DataFrame({"g": group, "x": values, "c": levels})


def test_answers_are_those_of_r_on_shares():
    agreed(lines("birthwt by smoking", "rep3"))


@pytest.mark.parametrize("n", range(1, 14))
def test_quartiles_are_those_of_numpy_at_every_size(run, n):
    rng = np.random.default_rng(n)
    values = rng.integers(-18, 19, n) / 2
    frame = pd.DataFrame({"g": "a", "x": values, "c": "u"})
    wide = {**SMALL, "numbers": [{**SMALL["numbers"][0], "scale": 5}]}
    (row,) = run(
        "table_one", wide, {"s": frame.iloc[: n // 2], "t": frame.iloc[n // 2 :]}, policy=EXACT
    ).numbers
    found = row.groups[0]
    assert [found.q1, found.median, found.q3] == pytest.approx(
        np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    )
    assert (found.mean is None) == (n == 1) and row.groups[1].median is None


def test_missing_values_and_groups_that_nobody_is_in(run):
    frame = made(5, 3, 0, 4)
    frame.loc[:2, "x"] = np.nan
    other = pd.DataFrame({"g": ["z", None], "x": [1.0, 1.0], "c": ["u", "u"]})
    result = run("table_one", SMALL, {"s": pd.concat([frame, other])}, policy=EXACT)
    assert [each.n.value for each in result.groups] == [12, 0]
    assert result.numbers[0].groups[0].missing.value == 3
    kinds = result.categories[0]
    assert [level.count.value for level in kinds.groups[0].levels] == [5, 3, 0] and kinds.groups[
        0
    ].missing.value == 4
    assert [level.share for level in kinds.groups[0].levels] == [5 / 8, 3 / 8, 0]
    assert kinds.groups[1].levels[0].share is None and kinds.differences[0].smd is None


def test_levels_that_nobody_has_do_not_matter(run):
    parts = [made(0, 30, 20), made(0, 10, 40, group="b")]
    (kinds,) = run("table_one", SMALL, {"s": pd.concat(parts)}, policy=EXACT).categories
    p, q = 0.4, 0.8
    expected = (q - p) / np.sqrt((p * (1 - p) + q * (1 - q)) / 2)
    assert kinds.differences[0].smd == pytest.approx(expected, rel=1e-5)
    parts = [made(0, 50, 0), made(0, 0, 50, group="b")]
    (kinds,) = run("table_one", SMALL, {"s": pd.concat(parts)}, policy=EXACT).categories
    assert kinds.differences[0].smd is None and kinds.differences[0].why_not.startswith("not estimable")


def shown_of(counts, adding=None, policy=FINE):
    counts = np.asarray(counts)
    exists = np.ones(counts.shape[1:], dtype=bool)
    with World("plain") as world:
        shared = world.share(counts, bits=30)
        return world.run(
            lambda _, given: shown_cells(given, exists, exists if adding is None else adding, policy),
            shared,
        )


def test_what_is_shown_never_gives_a_hidden_cell_away():
    rng = np.random.default_rng(1)
    rows = rng.choice([0, 3, 9, 10, 11, 40, 200], size=(3_000, 4))
    shown = shown_of(rows[None])
    assert not shown[rows < 10].any()
    for row, seen in zip(rows, shown, strict=True):
        hidden = row[~seen]
        assert len(hidden) == 0 or len(hidden) == 4 or (len(hidden) >= 2 and hidden.sum() >= 10), row
        if (row >= 10).all():
            assert seen.all()
        extra = row[~seen & (row >= 10)]
        assert len(extra) <= 1 and (len(extra) == 0 or extra[0] == row[row >= 10].min())
    zeros = FINE.model_copy(update={"allow_true_zero": True})
    for row, seen in zip(rows, shown_of(rows[None], policy=zeros), strict=True):
        hidden = row[~seen]
        assert seen[row == 0].all() or not seen.any()
        assert len(hidden) == 0 or len(hidden) == 4 or ((hidden > 0).sum() >= 2 and hidden.sum() >= 10), row


def test_every_view_counts_and_cells_that_do_not_add_up_stand_for_themselves():
    whole = np.array([[30, 30, 30], [30, 30, 30]])
    without = np.array([[30, 30, 30], [9, 30, 25]])
    assert shown_of(np.stack([whole, without])).tolist() == [[True] * 3, [False, False, True]]
    # two hidden cells, 18 persons together, but 6 without those of a hospital that receives the result
    assert shown_of([[[9, 9, 30, 40]], [[3, 3, 30, 40]]]).tolist() == [[False, False, False, True]]
    adding = np.array([[True, True, False]] * 2)
    assert shown_of(np.array([[[30, 40, 3], [3, 40, 30]]]), adding).tolist() == [
        [True, True, False],
        [False, False, True],
    ]


@pytest.mark.parametrize(("persons", "shown"), [(9, False), (10, True), (11, True)])
def test_a_group_needs_k_persons(run, persons, shown):
    parts = pd.concat([made(persons), made(30, 30, 30, group="b")])
    study = {**SMALL, "categories": [{"variable": "c", "levels": ["u"]}]}
    result = run("table_one", study, {"s": parts})
    first, second = result.numbers[0].groups
    assert (
        (result.groups[0].n.value is not None)
        == shown
        == (first.mean is not None)
        == (first.median is not None)
    )
    assert second.mean is not None and (result.numbers[0].differences[0].smd is not None) == shown
    assert (result.categories[0].groups[0].levels[0].count.value is not None) == shown
    both = run("table_one", study, {"s": parts, "t": made(40, 40, 40)}, receiving=("t",))
    assert (both.groups[0].n.value is not None) == shown
    assert (both.categories[0].groups[0].levels[0].count.value is not None) == shown


def test_released_numbers_are_rounded_and_small_cells_hidden(run):
    parts = pd.concat([made(40, 33, 27), made(50, 45, 5, group="b")])
    result = run("table_one", SMALL, {"s": parts})
    first, second = result.categories[0].groups
    assert [level.count.value for level in first.levels] == [40, 30, 30]
    assert [level.count.value for level in second.levels] == [50, None, None]
    assert result.categories[0].differences[0].smd is None
    each, values = result.numbers[0].groups[0], parts[parts.g == "a"].x
    assert each.mean == pytest.approx(round(values.mean(), 3), abs=1e-9)
    assert each.sd == pytest.approx(values.std(), rel=1e-3) and each.median % 0.5 == 0
    whats = [withheld.what for withheld in result.suppressed]
    assert "b: c v" in whats and "b against a: c" in whats and "numbers of missing values of x, c" in whats


def test_without_rounding_the_missing_are_a_cell_like_others(run):
    (kinds,) = run("table_one", SMALL, {"s": made(40, 30, 20, 4)}, policy=FINE).categories
    assert [level.count.value for level in kinds.groups[0].levels] == [40, 30, None]
    zeros = FINE.model_copy(update={"allow_true_zero": True})
    (kinds,) = run("table_one", SMALL, {"s": made(40, 30, 20)}, policy=zeros).categories
    assert [level.count.value for level in kinds.groups[0].levels] == [40, 30, 20]
    assert kinds.groups[0].missing.value == 0


def prepared(frame, study=SMALL):
    chosen, typed = analysis("table_one"), parse_parameters("table_one", study)
    return chosen, typed, {"a": chosen.local(typed, SiteData(frame))}


def everything_opened(frame, study=SMALL, **policy):
    chosen, typed, tables = prepared(frame, study)
    released = Released(DisclosurePolicy(minimum_sites=1, **policy), ("a",))
    with World("plain") as world:
        opened = opened_outputs(world, chosen, typed, released, tables)
    return json.dumps({name: np.asarray(value).tolist() for name, value in opened.items()})


def test_what_is_hidden_opens_to_constants():
    found = [everything_opened(made(*cells, seed=seed)) for seed, cells in ((1, (3, 2, 1)), (2, (1, 4, 3)))]
    assert found[0] == found[1]


@pytest.mark.parametrize("rounding", [1, 10])
def test_the_known_of_a_number_do_not_tell_the_missing(rounding):
    """Of 55 persons all or 46 are known, with the same mean, variance and quartiles."""
    other = made(30, 25, group="b")
    found = []
    for ends, middle in ((24, 7), (20, 6)):
        values = np.full(55, np.nan)
        values[: 2 * ends + middle] = np.repeat([-1, 0, 1], [ends, middle, ends])
        found.append(everything_opened(pd.concat([made(30, 25).assign(x=values), other]), rounding=rounding))
    assert found[0] == found[1]


CODED = {**SMALL["numbers"][0], "low": 0, "high": 1, "step": 1, "codes": ["0", "1"]}


def flagged(ones, group="a"):
    return made(30, 30, group=group).assign(x=(np.arange(60) < ones) * 1.0)


@pytest.mark.parametrize(("ones", "shown"), [(9, False), (10, True), (51, False)])
def test_persons_of_each_code_of_a_number_are_counted(run, ones, shown):
    frame, study = pd.concat([flagged(ones), flagged(30, "b")]), {**SMALL, "numbers": [CODED]}
    for sites, receiving in (({"s": frame}, ()), ({"s": frame, "t": flagged(30)}, ("t",))):
        (row,) = run("table_one", study, sites, receiving=receiving).numbers
        first, second = row.groups
        numbers = (first.mean, first.sd, first.median, row.differences[0].smd)
        assert all((each is not None) == shown for each in numbers) and second.mean is not None
        assert shown or first.why_not == "fewer than 10 persons, or of one of its codes"


def test_rare_codes_open_to_constants_and_a_study_has_to_declare_them(run):
    study = {**SMALL, "numbers": [CODED]}
    assert everything_opened(flagged(0), study) == everything_opened(flagged(9), study)
    exact = run("table_one", study, {"s": flagged(3)}, policy=EXACT).numbers[0].groups[0]
    assert exact.mean == pytest.approx(3 / 60, abs=1e-6)
    plain = {**SMALL, "numbers": [{**CODED, "codes": None}]}
    with pytest.raises(LocalDataError, match="x has no more than two different numbers among the persons"):
        run("table_one", plain, {"s": flagged(3)})
    with pytest.raises(LocalDataError, match="x holds other values than 0, 1"):
        run("table_one", study, {"s": flagged(3).assign(x=0.5)})


def test_refusals(run, monkeypatch):
    with pytest.raises(LocalDataError, match="x holds numbers outside -9 to 9"):
        run("table_one", SMALL, {"s": made(5).assign(x=10.0)})
    for change, words in (
        ({"numbers": [], "categories": []}, "name at least one variable"),
        ({"groups": ["a", "a"]}, "labels must be distinct"),
        ({"numbers": [{**SMALL["numbers"][0], "low": 9}]}, "low must lie below high"),
        ({"numbers": [{**SMALL["numbers"][0], "step": 1e-4}]}, "take a larger step"),
    ):
        with pytest.raises(ParametersRefused, match=words):
            parse_parameters("table_one", {**SMALL, **change})
    monkeypatch.setattr(regression_tables, "MOST_ROWS", 40)
    with pytest.raises(LocalDataError, match=r"^more than 40 persons, the most from one hospital$"):
        run("table_one", SMALL, {"s": made(50)})


def test_a_file_is_described_as_a_study_would(tmp_path):
    rng = np.random.default_rng(4)
    frame = pd.DataFrame(
        {"arm": ["x", "y"] * 30, "tiny": rng.normal(size=60) * 1e-7, "wide": rng.normal(size=60) * 1e9 + 1e12,
         "cents": rng.integers(100, 900, 60) / 100, "code": rng.integers(1, 3, 60), "flag": rng.random(60) < 0.5, "one": "k"}
    )  # fmt: skip
    path = tmp_path / "file.csv"
    frame.to_csv(path, index=False)
    columns = ",".join(frame.columns[1:])
    call = [
        "table-one",
        str(path),
        "--by",
        "arm",
        "--columns",
        columns,
        "--release",
        "exact",
        "--protocol",
        "rep3",
        "--json",
    ]
    done = CliRunner().invoke(try_app, call, catch_exceptions=False)
    found = {each["name"]: each for each in json.loads(done.output)["variables"]}
    for name in ("tiny", "wide", "cents"):
        values = frame[frame.arm == "x"][name]
        first, width = found[name]["groups"][0], frame[name].max() - frame[name].min()
        assert first["mean"] == pytest.approx(values.mean(), rel=1e-6, abs=1e-7 * width)
        quartiles = values.quantile([0.25, 0.5, 0.75]).tolist()
        assert [first["q1"], first["median"], first["q3"]] == pytest.approx(
            quartiles, rel=1e-12, abs=0 if name == "cents" else 5e-5 * width
        )
    assert [level["level"] for level in found["code"]["groups"][0]["levels"]] == ["1", "2"]
    assert {found[name]["kind"] for name in ("code", "flag", "one")} == {"category"}
    assert found["one"]["groups"][0]["levels"] == [{"level": "k", "count": 30, "share": 1.0}]
    assert found["one"]["smd"][0]["smd"] == 0


def test_a_number_of_two_values_in_a_group_needs_its_codes():
    """59 persons of one value and one of another: mean and deviation would give back the other."""
    frame = pd.DataFrame({"arm": ["a", "b"] * 60, "x": np.arange(120) % 40})
    number = {"variable": "x", "centre": 20, "scale": 10, "low": 0, "high": 40, "step": 1}
    given = {"by": "arm", "groups": ["a", "b"], "numbers": [number], "categories": []}
    typed = parse_parameters("table_one", given)
    analysis("table_one").local(typed, SiteData(frame))
    frame.loc[frame.arm == "a", "x"] = [3] * 59 + [7]
    with pytest.raises(LocalDataError, match="x has no more than two different numbers among the persons"):
        analysis("table_one").local(typed, SiteData(frame))
    assert codes_of(frame.assign(x=frame.x % 20), "x", None) is None
    assert codes_of(frame.assign(x=frame.x % 20), "x", None, by="arm") == [
        str(odd) for odd in range(1, 20, 2)
    ]
