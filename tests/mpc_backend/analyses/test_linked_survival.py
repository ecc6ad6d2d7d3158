"""Times of persons whom several hospitals know: against a statement in plain words, and persons put together by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from lifelines import KaplanMeierFitter
from lifelines.utils import restricted_mean_survival_time
from typer.testing import CliRunner

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses import log_rank_scores
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.errors import LocalDataError, ParametersRefused
from mpc_backend.analyses.grid import coarsen
from mpc_backend.analyses.linked_steps import LATEST, NEVER, LinkedEnds, LinkedRows, token_words
from mpc_backend.analyses.linked_survival import linked_survival
from mpc_backend.analyses.linked_words import REPEATED
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.testing import World
from mpc_backend.try_cli import try_app

EXACT = DisclosurePolicy(minimum_sites=1, release="exact")
ARMS, STRATA = ("s", "t"), ("u", "v")
MADE = {
    "outcome": "o", "arm": "drug", "arms": list(ARMS), "strata": [{"variable": "g", "levels": list(STRATA)}], "rho": 1,
    "time_unit": "week", "unit": "month", "linkage": True, "steps": ["in", "kept"], "first": True,
    "linked": [{"how": "entry"}, {"how": "at_entry", "unless": True}],
}  # fmt: skip


def some(seed: int, persons: int) -> list[dict[str, Any]]:
    """Persons of one hospital; of some it has no entry, of some two outcomes, or periods that do not hold the entry."""
    rng = np.random.default_rng(seed)
    found = []
    for who in rng.choice(persons * 3 // 2, persons, replace=False).tolist():
        start = int(rng.integers(0, 30))
        found.append(
            {
                "who": who,
                "entry": None if rng.random() < 0.25 else start,
                "out": bool(rng.random() < 0.15),
                "died": None if rng.random() < 0.8 else int(rng.integers(10, 90)),
                "first": start - int(rng.random() < 0.2),
                "drug": [*ARMS, None][rng.choice(3, p=[0.5, 0.4, 0.1])],
                "g": STRATA[rng.integers(0, 2)],
                "outcomes": [int(day) for day in rng.integers(0, 110, rng.integers(0, 3))],
                "periods": [
                    *([(start - 2, start + int(rng.integers(0, 90)))] if rng.random() < 0.8 else []), (100, 120),
                    *([(-9, 60)] if rng.random() < 0.2 else []),
                ],
            }
        )  # fmt: skip
    return found


def token(who: int) -> bytes:
    return bytes([who % 5, 0, 0, who // 5 + 1]) + bytes(12)


def rows_of(persons: list[dict[str, Any]]) -> SiteData:
    """As a hospital shares them."""
    entry = np.array([NEVER if one["entry"] is None else one["entry"] for one in persons])
    ends = [(one["who"], -(10**6), day - 1, day, False) for one in persons for day in one["outcomes"]]
    ends += [(one["who"], low, high, high, True) for one in persons for low, high in one["periods"]]
    whose, *numbers = zip(*ends, strict=True)
    earliest, latest, days, observed = (np.array(part) for part in numbers)
    facts = pd.DataFrame({name: [one[name] for one in persons] for name in ("drug", "g")})
    return SiteData(
        pd.DataFrame(),
        linked=LinkedRows(
            token_words([token(one["who"]) for one in persons]),
            (entry, np.array([one["out"] for one in persons])),
            np.array([LATEST if one["died"] is None else one["died"] for one in persons]),
            np.array([one["first"] for one in persons]),
            facts=facts,
            ends={
                "o": LinkedEnds(token_words([token(one) for one in whose]), earliest, latest, days, observed)
            },
        ),
    )


def together(sites: dict[str, list[dict[str, Any]]], horizon: int, longest: int) -> list[dict[str, Any]]:
    """In plain words: who is in the cohort, from when, where, and how their time ends."""
    known: dict[int, list[tuple[str, dict[str, Any]]]] = {}
    for site, persons in sites.items():
        for one in persons:
            known.setdefault(one["who"], []).append((site, one))
    found = []
    for rows in known.values():
        entries = [one["entry"] for _, one in rows if one["entry"] is not None]
        died = min([one["died"] for _, one in rows if one["died"] is not None], default=10**6)
        if not entries or died < min(entries) or min(one["first"] for _, one in rows) < min(entries):
            continue
        entry = min(entries)
        there = [(site, one) for site, one in rows if one["entry"] == entry]
        cells = [
            (ARMS.index(one["drug"]), STRATA.index(one["g"]), site)
            for site, one in there
            if one["drug"] is not None
        ]
        periods = [high for _, one in rows for low, high in one["periods"] if low <= entry <= high]
        if any(one["out"] for _, one in there) or not cells or not periods:
            continue
        last = min(max(periods), died, entry + longest)
        outcomes = [day for _, one in rows for day in one["outcomes"] if entry < day <= last]
        weeks = -(-(min(outcomes, default=last) - entry) // 7)
        month = int(coarsen(np.array([weeks]), "week", "month")[0])
        found.append(
            {
                "cell": min(cells),
                "time": min(month, horizon),
                "event": bool(outcomes) and month <= horizon,
                "known": {site for site, _ in rows},
            }
        )
    return found


def counted(
    people: list[dict[str, Any]], sites: tuple[str, ...], bins: int, unknown_to: str | None
) -> np.ndarray:
    """Events and exits (2, arms, strata, hospitals, bins)."""
    table = np.zeros((2, 2, 2, len(sites), bins), int)
    for one in people:
        if unknown_to not in one["known"]:
            arm, stratum, site = one["cell"]
            table[:, arm, stratum, sites.index(site), one["time"]] += [one["event"], 1]
    return table


def on_shares(
    protocol: str, sites: dict[str, SiteData], change: Any = None, horizon: int = 2, longest: int = 70
) -> dict[str, np.ndarray]:
    given = {**MADE, "horizon": horizon, "follow_up_days": longest}
    chosen, typed = analysis("survival"), parse_parameters("survival", given)
    with World(protocol) as world:
        inputs: dict[str, dict[str, Any]] = {spec.name: {} for spec in chosen.tables(typed)}
        for name, data in sites.items():
            tables = chosen.local(typed, data)
            if change is not None:
                tables = change(name, tables)
            for spec in chosen.tables(typed):
                inputs[spec.name][name] = {
                    one.name: world.share_column(one, tables[spec.name][one.name]) for one in spec.columns
                }

        def compute(_: Any, given: Any) -> dict[str, Any]:
            found, sound = linked_survival(typed, given)
            return {**vars(found), "sound": sound.reshape(1)}

        opened: dict[str, np.ndarray] = world.run(compute, inputs)
        return opened


@pytest.mark.parametrize(
    ("protocol", "hospitals", "persons", "horizon", "longest"),
    [
        ("plain", "abc", 300, 2, 70),
        ("plain", "ab", 300, 3, 45),
        ("rep3", "abc", 40, 2, 70),
        ("rep4", "abc", 40, 2, 70),
    ],
)
def test_tables_are_those_of_persons_put_together(
    protocol: str, hospitals: str, persons: int, horizon: int, longest: int
) -> None:
    """Follow-up cut by the grid, or before its end; codes that fill a power of two, so that none is left over."""
    given = {site: some(number, persons) for number, site in enumerate(hospitals)}
    rows = {site: rows_of(people) for site, people in given.items()}
    found = on_shares(protocol, rows, horizon=horizon, longest=longest)
    people, sites = together(given, horizon, longest), tuple(given)
    assert sum(len(one["known"]) > 1 for one in people) > persons / 10 and found["sound"]
    views = np.stack([counted(people, sites, horizon + 1, view) for view in (None, *sites)])
    np.testing.assert_array_equal(found["events"], views[:, 0].sum(3))
    np.testing.assert_array_equal(found["exits"], views[:, 1].sum(3))
    failed, exits = views[0].astype(np.int64)
    by_hospital = failed.sum(1), (exits - failed).sum(1)
    crossed = failed.reshape(2, -1, horizon + 1), (exits - failed).reshape(2, -1, horizon + 1)
    expected = [
        log_rank_scores.scores(*by_hospital), log_rank_scores.scores(*crossed), log_rank_scores.scores(*by_hospital, 1)
    ]  # fmt: skip
    np.testing.assert_allclose(found["score"], [score for score, _ in expected], atol=2e-3)
    np.testing.assert_allclose(found["variance"], [each.ravel() for _, each in expected], atol=2e-3)


def test_rows_that_are_none_change_nobody_and_repeated_ones_show_nothing() -> None:
    """Padding may hold anything; a token twice at one hospital could push out the row of another."""
    given = {site: rows_of(some(number, 40)) for number, site in enumerate("ab")}

    def spoilt(name: str, tables: dict[str, Any]) -> dict[str, Any]:
        if name == "b":
            return tables
        return {
            table: {
                one: np.concatenate(
                    [part, part * 0 if one == "valid" else part if one == "token" else part * 0 + 1]
                )
                for one, part in columns.items()
            }
            for table, columns in tables.items()
        }

    def repeated(name: str, tables: dict[str, Any]) -> dict[str, Any]:
        if name == "b":
            return tables
        return {
            **tables,
            "persons": {one: np.concatenate([part, part[:1]]) for one, part in tables["persons"].items()},
        }

    whole, same, none = (on_shares("plain", given, change) for change in (None, spoilt, repeated))
    assert whole["exits"][0].sum() > 10 and same["sound"] and not none["sound"]
    np.testing.assert_array_equal(same["events"], whole["events"])
    np.testing.assert_array_equal(same["exits"], whole["exits"])
    assert not any(none[name].any() for name in ("events", "exits", "score", "variance"))


def everybody(numbers: list[int], arm: str = "s") -> SiteData:
    """Persons by number who enter on day 0 and fail on day 10 to 39."""
    tokens = token_words([(number + 1).to_bytes(16, "big") for number in numbers])
    days = np.array([10 + number % 30 for number in numbers])
    ends = LinkedEnds(
        np.concatenate([tokens, tokens]), np.full(2 * len(days), -5), np.repeat([9, 50], len(days)).astype(np.int64),
        np.concatenate([days, days]), np.repeat([False, True], len(days)),
    )  # fmt: skip
    facts = pd.DataFrame({"drug": [arm] * len(numbers)})
    lives = np.full(len(numbers), LATEST)
    return SiteData(
        pd.DataFrame(), linked=LinkedRows(tokens, (days * 0,), lives, facts=facts, ends={"o": ends})
    )


ONE_ARM = {
    "outcome": "o", "arm": "drug", "arms": ["s"], "unit": "day", "horizon": 40, "tau": 30, "linkage": True, "steps": ["in"],
    "linked": [{"how": "entry"}], "follow_up_days": 60,
}  # fmt: skip


@pytest.mark.parametrize(("elsewhere", "shown"), [(9, False), (10, True)])
def test_thresholds_hold_for_persons_whom_a_hospital_does_not_know(
    run: Any, elsewhere: int, shown: bool
) -> None:
    """a knows 100 persons; others are at b alone, where there are more of a's; a does not receive the result."""
    sites = {"a": everybody([*range(100)]), "b": everybody([*range(40, 100 + elsewhere)])}
    policy = DisclosurePolicy(minimum_sites=1, rounding=10, allow_true_zero=True)
    result = run("survival", ONE_ARM, sites, policy=policy)
    (arm,) = result.arms
    assert (arm.n.state == "released") is shown
    assert (arm.curve.median is not None) is shown
    assert "counted once" in result.notes[0] and "those of all hospitals" in result.notes[0]
    assert "true zero" in policy.footnote() and "true zero" not in result.release


def test_who_shares_records_of_a_person_knows_the_person(run: Any) -> None:
    """a has no row of ten persons at b, but shares an outcome of each: were they others to it, it would see if b has them."""
    made_up, policy = everybody([*range(100, 110)]).linked, DisclosurePolicy(minimum_sites=1, rounding=10)
    known = everybody([*range(100)]).linked
    assert made_up is not None and known is not None
    both = [vars(one.ends["o"]) for one in (known, made_up)]
    ends = {"o": LinkedEnds(**{name: np.concatenate([one[name] for one in both]) for name in both[0]})}
    sites = {
        "a": SiteData(pd.DataFrame(), linked=replace(known, ends=ends)),
        "b": everybody([*range(40, 110)]),
    }
    assert (
        run("survival", ONE_ARM, {**sites, "a": everybody([*range(100)])}, policy=policy).arms[0].n.state
        == "released"
    )
    assert run("survival", ONE_ARM, sites, policy=policy).arms[0].n.state != "released"


def test_nothing_is_shown_where_a_hospital_shares_two_rows_of_one_person() -> None:
    chosen, typed = analysis("survival"), parse_parameters("survival", ONE_ARM)
    opened: Any = {
        "sound": np.array([False]),
        "events": np.zeros((1, 1, 41)),
        "censored": np.zeros((1, 1, 41)),
    }
    opened |= {"score": np.zeros((1, 1)), "variance": np.zeros((1, 1))}
    assert REPEATED in chosen.finish(typed, Released(EXACT, ("a", "b")), opened).notes


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"linkage": False}, "need linkage: true"),
        ({"steps": []}, "0 steps are named and 1 are linked"),
        ({"linked": [{"how": "anywhere"}]}, "start with an entry"),
        ({"rho": 0.5}, "rho: 0.5 with linkage"),
        ({"cox": {"covariates": [{"variable": "x", "scale": 1}]}}, "cox: with linkage"),
        ({"horizon": 17_000}, "17001 cells of hospital x arm x stratum x time with linkage"),
    ],
)
def test_what_cannot_be_told_of_linked_persons_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ParametersRefused, match=why):
        parse_parameters("survival", {**ONE_ARM, **changes})


def test_rows_of_one_person_at_a_hospital_are_put_together_there() -> None:
    """A hospital may hold a person twice: the earlier entry says the arm."""
    tokens = token_words([(1).to_bytes(16, "big")] * 2)
    ends = LinkedEnds(tokens, *(np.array([4, 9]),) * 3, np.array([True, True]))
    facts, entry = pd.DataFrame({"drug": ["s", "t"]}), np.array([9, 4])
    rows = LinkedRows(tokens, (entry,), np.array([LATEST] * 2), facts=facts, ends={"o": ends})
    chosen, typed = analysis("survival"), parse_parameters("survival", {**ONE_ARM, "arms": ["s", "t"]})
    persons = chosen.local(typed, SiteData(pd.DataFrame(), linked=rows))["persons"]
    assert persons["cell"].tolist() == [1] and persons["days"].tolist() == [[4, LATEST]]


def test_nothing_is_planned_or_shared_before_the_study_says_how_records_are_combined() -> None:
    chosen = analysis("survival")
    typed = parse_parameters("survival", {**ONE_ARM, "steps": [], "linked": [], "follow_up_days": None})
    with pytest.raises(ParametersRefused, match="none announced"):
        chosen.tables(typed)
    typed = parse_parameters("survival", ONE_ARM)
    with pytest.raises(LocalDataError, match="no tokens of persons"):
        chosen.local(typed, SiteData(pd.DataFrame()))
    given = everybody([1]).linked
    assert given is not None
    with pytest.raises(LocalDataError, match="no days of outcome o"):
        chosen.local(typed, SiteData(pd.DataFrame(), linked=replace(given, ends={})))


# ---- tessera try


def regional(seed: int) -> pd.DataFrame:
    """Rows of persons at three hospitals, a third of them at several; calendar days of start."""
    rng = np.random.default_rng(seed)
    rows = []
    for who in range(240):
        start, end = int(rng.integers(0, 300)), int(rng.integers(440, 700))
        failed = bool(rng.random() < 0.6)
        for place, site in enumerate(rng.permutation(list("xyz"))[: rng.choice([1, 1, 2, 3])]):
            begins = start + 40 * place
            rows.append(
                {
                    "site": site,
                    "id": f"P-{who}" if place else f"p {who}",
                    "day": str(np.datetime64("2019-01-01") + begins),
                    "drug": rng.choice(["a", "b"]),
                    "sex": "f" if who % 2 else "m",
                    "time": end - begins - (0 if failed and place == 0 else 25 * (place > 0)),
                    "event": int(failed and place == 0),
                    "who": who,
                }
            )
    return pd.DataFrame(rows)


def by_hand(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a person: the first row, followed to the first event or the last day at any hospital."""
    rows = frame.assign(begins=pd.to_datetime(frame["day"]))
    rows["ends"] = rows["begins"] + pd.to_timedelta(rows["time"], unit="D")
    rows["failed"] = rows["ends"].where(rows["event"] == 1)
    persons = rows.sort_values("begins", kind="stable").groupby("who")
    last = persons["failed"].min().fillna(persons["ends"].max())
    first = persons.first()
    return first.assign(time=(last - first["begins"]).dt.days, event=persons["event"].max()).reset_index()[
        list(frame.columns)
    ]


def asked(file: Path, frame: pd.DataFrame, *arguments: str) -> Result:
    frame.to_csv(file, index=False)
    call = [
        "survival",
        str(file),
        "--time",
        "time",
        "--event",
        "event",
        "--arm",
        "drug",
        "--site",
        "site",
        "--rho",
        "1",
    ]
    return CliRunner().invoke(
        try_app, [*call, "--protocol", "rep3", "--release", "exact", "--grid", "week", "--json", *arguments]
    )


def answer(file: Path, frame: pd.DataFrame, *arguments: str) -> dict[str, Any]:
    done = asked(file, frame, *arguments)
    assert done.exit_code == 0, done.output
    return json.loads(done.output)  # type: ignore[no-any-return]


def test_try_survival_refuses_rows_it_cannot_follow(tmp_path: Path) -> None:
    frame, link = regional(5), ("--link", "id", "--index-day", "day")
    who = frame["id"].str.lower().str.replace("-", " ")
    first = frame["day"] == frame["day"].groupby(who).transform("min")
    several = who.groupby(who).transform("size") > 1
    armless = asked(tmp_path / "f.csv", frame.assign(drug=frame["drug"].mask(first))[several], *link)
    late = asked(tmp_path / "f.csv", frame.assign(day=frame["day"].mask(first, "2149-01-01")), *link)
    old = asked(tmp_path / "f.csv", frame.assign(day=frame["day"].mask(first, "1900-01-01")), *link)
    for refused, why in (
        (armless, "drug: nobody has it in the row"),
        (late, "after the year 2149"),
        (old, "at most 36525; correct time or day"),
    ):
        assert isinstance(refused.exception, LocalDataError) and why in str(refused.exception)


def test_try_survival_follows_persons_over_hospitals_as_one_file_of_persons_does(tmp_path: Path) -> None:
    frame = regional(5)
    persons, link = by_hand(frame), ("--link", "id", "--index-day", "day")
    assert len(frame) > len(persons) + 100
    found = answer(tmp_path / "f.csv", frame, *link)
    expected = answer(tmp_path / "f.csv", persons)
    for name in ("arms", "rmst_contrast"):
        assert found[name] == expected[name]
    for name in ("log_rank", "weighted_log_rank"):
        assert found[name]["df"] == expected[name]["df"]
        assert found[name]["chi2"] == pytest.approx(expected[name]["chi2"], rel=1e-4)
    assert [arm["n"] for arm in found["arms"]] == persons.groupby("drug").size().tolist()
    assert "counted once" in found["notes"][0] and "may be counted at more" in expected["notes"][0]
    # Where nobody is at two hospitals, both ways are one.
    assert answer(tmp_path / "f.csv", persons, *link)["arms"] == expected["arms"]


def test_linked_curves_are_those_of_lifelines_on_persons_put_together_by_hand(tmp_path: Path) -> None:
    frame = regional(11)
    persons = by_hand(frame).assign(weeks=lambda rows: -(-rows["time"] // 7))
    found = answer(tmp_path / "f.csv", frame, "--link", "id", "--index-day", "day", "--tau", "50")
    for arm in found["arms"]:
        rows = persons[persons["drug"] == arm["arm"]]
        fit = KaplanMeierFitter().fit(rows["weeks"], rows["event"])
        limits = fit.confidence_interval_
        for row in arm["survival"]:
            time = row["time"]
            assert row["estimate"] == pytest.approx(fit.predict(time), rel=1e-9)
            assert row["at_risk"] == (rows["weeks"] >= time).sum()
            assert row["events"] == rows["event"][rows["weeks"] <= time].sum()
            if 0 < row["estimate"] < 1:
                assert [row["lower"], row["upper"]] == pytest.approx(limits.loc[time].tolist(), rel=1e-6)
        assert arm["median"]["estimate"] == fit.median_survival_time_
        assert arm["rmst"]["estimate"] == pytest.approx(restricted_mean_survival_time(fit, t=50), rel=1e-9)


def test_options_of_linkage_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    frame = regional(1).head(30)
    frame.assign(late="31.1.2020", none=[*frame["day"][:-1], None]).to_csv(file, index=False)
    call = ["survival", str(file), "--time", "time", "--event", "event", "--arm", "drug"]
    at, link = ["--site", "site"], ["--link", "id", "--index-day"]
    for more, why in (
        ([*at, "--link", "id"], "--link and --index-day go together"),
        ([*link, "day"], "needs --site"),
        ([*at, *link, "day", "--unit", "month"], "times in days"),
        ([*at, *link, "day", "--covariates", "sex"], "--covariates go without --link"),
        ([*at, *link, "late"], "neither whole numbers of days nor dates"),
        ([*at, *link, "none"], "every row needs the day"),
    ):
        done = CliRunner().invoke(try_app, [*call, *more])
        assert done.exit_code and why in str(done.exception or done.output), (why, done.output)
