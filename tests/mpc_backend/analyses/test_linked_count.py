"""Persons of several hospitals are counted once: against a statement in plain words and against SQL."""

import json

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.cohort_count import CohortCount
from mpc_backend.analyses.errors import LocalDataError, ParametersRefused
from mpc_backend.analyses.linked_secret import linked_counts
from mpc_backend.analyses.linked_steps import LATEST, NEVER, LinkedRecords, LinkedRows, token_words
from mpc_backend.analyses.linked_words import LINKED, REPEATED
from mpc_backend.analyses.registry import parse_parameters
from mpc_backend.testing import World
from mpc_backend.try_cli import try_app

HOWS = (
    {"how": "entry"},
    {"how": "since"},
    {"how": "since", "unless": True},
    {"how": "at_entry"},
    {"how": "at_entry", "unless": True},
    {"how": "anywhere"},
    {"how": "within"},
    {"how": "within", "unless": True},
)
PLACES = (6, 7)
EXACT = DisclosurePolicy(minimum_sites=1, release="exact")


def parameters(hows=HOWS, *, first: bool = False):
    steps = [f"step {number}" for number in range(len(hows))]
    return parse_parameters(
        "cohort_count", {"steps": steps, "linkage": True, "linked": list(hows), "first": first}
    )


def token(person: int) -> bytes:
    """128 bits that lie close together, so that every word of a token has to be looked at."""
    return bytes(4 * (person % 3)) + bytes([person % 7, 0, person // 21, 128]) + bytes(12 - 4 * (person % 3))


def rows_of(persons: list[dict], *, first: bool) -> LinkedRows:
    judged = [np.array([one["steps"][place] for one in persons]) for place in range(len(HOWS) - len(PLACES))]
    steps = (*judged, *[np.empty(0)] * len(PLACES))
    known = [(one["who"], *record) for one in persons for record in one["records"]]
    numbers = np.array([record[1:] for record in known], np.int64).reshape(-1, 3)
    records = LinkedRecords(token_words([token(record[0]) for record in known]), *numbers.T)
    died = np.array([one["died"] for one in persons], np.int64)
    earliest = np.array([one["first"] for one in persons], np.int64)
    tokens = token_words([token(one["who"]) for one in persons])
    return LinkedRows(tokens, steps, died, earliest if first else None, records)


def counted(sites: dict[str, list[dict]], receiving: tuple[str, ...], *, first: bool) -> list[list[int]]:
    """In plain words: all that hospitals say of a person is put together, then the steps are asked in order."""
    people: dict[bytes, list[tuple[str, dict]]] = {}
    for site, persons in sites.items():
        for one in persons:
            people.setdefault(token(one["who"]), []).append((site, one))
    found = np.zeros((1 + len(receiving), 1 + len(HOWS)), int)
    for known in people.values():
        said = [one["steps"] for _, one in known]
        entry = min(one[0] for one in said)
        before_death = entry <= min(one["died"] for _, one in known)
        is_first = not first or entry <= min(one["first"] for _, one in known)
        deciding = [one for one in said if one[0] == entry]
        passed = [
            True,
            entry != NEVER and before_death and is_first,
            min(one[1] for one in said) <= entry,
            min(one[2] for one in said) > entry,
            any(one[3] for one in deciding),
            not any(one[4] for one in deciding),
            any(one[5] for one in said),
            any(
                place == 6 and low <= entry <= high for _, one in known for place, low, high in one["records"]
            ),
            not any(
                place == 7 and low <= entry <= high for _, one in known for place, low, high in one["records"]
            ),
        ]
        left = np.cumprod(passed)
        found[0] += left
        for view, site in enumerate(receiving, 1):
            found[view] += left * (site not in [where for where, _ in known])
    return found.tolist()


days = st.one_of(st.integers(-2, 4), st.just(NEVER))
person = st.fixed_dictionaries(
    {
        "who": st.integers(0, 8),
        "steps": st.tuples(days, days, days, st.booleans(), st.booleans(), st.booleans()),
        "died": st.one_of(st.integers(0, 4), st.just(LATEST)),
        "first": st.one_of(st.integers(-2, 4), st.just(LATEST)),
        "records": st.lists(
            st.tuples(st.sampled_from(PLACES), st.integers(-2, 4), st.integers(-2, 4)), max_size=4
        ),
    }
)
hospitals = st.dictionaries(
    st.sampled_from("abcde"), st.lists(person, min_size=1, max_size=12), min_size=1, max_size=5
)


def on_shares(protocol, sites, *, first):
    """Counts by view, from tables without padding."""
    chosen, typed = CohortCount(), parameters(first=first)
    with World(protocol) as world:
        inputs: dict[str, dict[str, object]] = {"persons": {}, "records": {}}
        for name, persons in sites.items():
            found = chosen.local(typed, SiteData(pd.DataFrame(), linked=rows_of(persons, first=first)))
            for spec in chosen.tables(typed):
                columns = found[spec.name]
                inputs[spec.name][name] = {
                    one.name: world.share_column(one, columns[one.name]) for one in spec.columns
                }
        found, sound = world.run(lambda _, given: linked_counts(typed.linked, given, first=first), inputs)
        assert sound
        return found[:, 0].tolist()


@settings(max_examples=10, deadline=None)
@given(hospitals, st.booleans())
def test_whoever_is_seen_at_several_hospitals_counts_once(sites, first):
    found = on_shares("plain", sites, first=first)
    assert found == counted(sites, tuple(sites), first=first)


def some(seed: int, persons: int) -> list[dict]:
    rng = np.random.default_rng(seed)

    def day(missing: float) -> int:
        return NEVER if rng.random() < missing else int(rng.integers(0, 5))

    return [
        {
            "who": int(rng.integers(0, 1 + 2 * persons)),
            "steps": (day(0.2), day(0.2), day(0.6), *(bool(one) for one in rng.random(3) < 0.6)),
            "died": min(LATEST, day(0.7)),
            "first": min(LATEST, day(0.7)),
            "records": [
                (6 + int(rng.random() < 0.2), low, low + int(rng.integers(0, 3)))
                for low in rng.integers(-1, 5, int(rng.integers(0, 4))).tolist()
            ],
        }
        for _ in range(persons)
    ]


@pytest.mark.parametrize(("protocol", "persons"), [("plain", 400), ("rep3", 25), ("rep4", 25)])
def test_shares_give_what_plain_words_say(protocol, persons):
    sites = {site: some(number, persons) for number, site in enumerate("abcde"[: 3 + 2 * (persons > 25)])}
    found = on_shares(protocol, sites, first=True)
    assert found == counted(sites, tuple(sites), first=True) and found[0][0] > found[0][1] > 0


def shown(result) -> list[object]:
    cells = [result.population, *(step.count for step in result.steps)]
    return [one.value if one.state == "released" else one.state for one in cells]


def everybody(*people: range | list[int]) -> SiteData:
    """Persons at one hospital by number; who is below 1,000 passes the only step."""
    numbers = [number for part in people for number in part]
    tokens = token_words([(number + 1).to_bytes(16, "big") for number in numbers])
    return SiteData(pd.DataFrame(), linked=LinkedRows(tokens, (np.array(numbers) < 1000,)))


@pytest.mark.parametrize(("elsewhere", "expected"), [(9, "suppressed"), (10, 110), (11, 111)])
def test_thresholds_hold_for_persons_whom_a_hospital_does_not_know(run, elsewhere, expected):
    """a knows 100 of those counted; others are at b alone, and at b there are more of a's."""
    given_parameters = {"steps": ["s"], "linkage": True, "linked": [{"how": "anywhere"}]}
    sites = {
        "a": everybody(range(100), range(1000, 1050)),
        "b": everybody(range(50, 100 + elsewhere), range(2000, 2100)),
        "c": everybody(range(3000, 3050)),
    }
    policy = DisclosurePolicy(minimum_sites=1, rounding=1)
    everyone = 100 + elsewhere + 50 + 100 + 50
    guarded = run("cohort_count", given_parameters, sites, policy=policy)
    assert shown(guarded) == [everyone, expected]
    assert guarded.linked and guarded.notes == [LINKED]


def people(numbers, outside=(), failing=()):
    """Persons at one hospital by number: those it does not let in, and those that it fails at a second step."""
    tokens = token_words([(number + 1).to_bytes(16, "big") for number in numbers])
    flags = (~np.isin(numbers, list(outside)), np.isin(numbers, list(failing)))
    return SiteData(pd.DataFrame(), linked=LinkedRows(tokens, flags))


IN_AND_KEPT = {
    "steps": ["in", "kept"],
    "linkage": True,
    "linked": [{"how": "anywhere"}, {"how": "anywhere", "unless": True}],
}


def test_a_hospital_does_not_learn_of_a_person_by_a_row_that_it_makes_up(run):
    """a fails person 5 at the second step, whom it does not let in itself, with nine of its own making whom it lets in: ten
    fail if b has let the person in, and nine if not.
    """
    policy = DisclosurePolicy(minimum_sites=1, rounding=10)
    made_up = range(9000, 9009)
    seen = []
    for known_at_b in (True, False):
        sites = {
            "a": people([5, *made_up, *range(60, 100)], outside=[5], failing=[5, *made_up]),
            "b": people([*range(100, 190), 5], outside=[*range(100, 120), *([] if known_at_b else [5])]),
            "c": people([*range(300, 350)], outside=range(300, 320)),
        }
        result = run("cohort_count", IN_AND_KEPT, sites, policy=policy)
        seen.append([step.count.state for step in result.steps])
    assert seen[0] == seen[1]
    assert seen[0][0] == "released"


def test_a_difference_of_nobody_but_those_a_hospital_knows_is_small_even_where_true_zeros_are_shown(run):
    """b fails a dozen of the persons of a, who are all there are: shown, their number would be of persons whom a knows."""
    sites = {
        "a": people([*range(100)], outside=range(20)),
        "b": people([*range(60, 72), *range(10, 20)], outside=range(10, 20), failing=range(60, 72)),
        "c": people([*range(20)], outside=range(20)),
    }
    shown_zero = DisclosurePolicy(minimum_sites=1, rounding=10, allow_true_zero=True)
    result = run("cohort_count", IN_AND_KEPT, sites, policy=shown_zero)
    assert result.steps[-1].count.state != "released"
    assert "true zero" in shown_zero.footnote() and "true zero" not in result.release


@pytest.mark.parametrize("kind", ["cohort_count", "survival"])
@pytest.mark.parametrize("given", [1, "yes"])
def test_linkage_is_true_or_false_and_nothing_that_resembles_it(kind, given):
    """What reads the parameters as they were written takes 1 for no linkage."""
    with pytest.raises(ParametersRefused, match="linkage: expected true or false"):
        parse_parameters(kind, {"linkage": given})


def test_rows_that_are_none_change_nobody(run):
    """Padding may hold anything: a hospital could write other persons' tokens and deaths there."""
    typed = parameters(first=True)
    sites = {site: some(number, 40) for number, site in enumerate("ab")}
    chosen, found = CohortCount(), []
    for spoilt in (False, True):
        with World("plain") as world:
            inputs: dict[str, dict[str, object]] = {"persons": {}, "records": {}}
            for name, persons in sites.items():
                tables = chosen.local(typed, SiteData(pd.DataFrame(), linked=rows_of(persons, first=True)))
                if spoilt and name == "a":
                    people = tables["persons"]
                    low = {**{key: value[:0] for key, value in people.items()}}
                    for key, value in people.items():
                        fill = np.full_like(value, -5) if key == "days" else np.ones_like(value)
                        extra = {"valid": np.zeros_like(value), "token": value}.get(key, fill)
                        low[key] = np.concatenate([value, extra])
                    tables = {**tables, "persons": low}
                for spec in chosen.tables(typed):
                    inputs[spec.name][name] = {
                        one.name: world.share_column(one, tables[spec.name][one.name]) for one in spec.columns
                    }
            counts, _ = world.run(lambda _, given: linked_counts(typed.linked, given, first=True), inputs)
            found.append(counts[:, 0].tolist())
    assert found[0] == found[1] and found[0][0][1] > 0


def test_who_shares_records_of_a_person_knows_the_person():
    """a has no row of persons 20 to 24, but asks about them by records of its own."""
    hows = [{"how": "entry"}, {"how": "within", "unless": True}]
    typed, chosen = parameters(hows), CohortCount()

    def rows(numbers, asked):
        every, none = token_words([token(one) for one in [*numbers, *asked]]), np.zeros(len(asked), np.int64)
        entry, lives = np.zeros(len(numbers), np.int64), np.full(len(numbers), LATEST)
        records = LinkedRecords(every[len(numbers) :], none + 1, none, none)
        return SiteData(
            pd.DataFrame(), linked=LinkedRows(every[: len(numbers)], (entry, entry[:0]), lives, None, records)
        )

    given = {"a": rows(range(10), range(20, 25)), "b": rows(range(5, 40), [])}
    with World("plain") as world:
        inputs: dict[str, dict[str, object]] = {"persons": {}, "records": {}}
        for name, data in given.items():
            tables = chosen.local(typed, data)
            for spec in chosen.tables(typed):
                inputs[spec.name][name] = {
                    one.name: world.share_column(one, tables[spec.name][one.name]) for one in spec.columns
                }
        counts, _ = world.run(lambda _, shared: linked_counts(typed.linked, shared, first=False), inputs)
    assert counts[:, 0].tolist() == [[40, 40, 35], [25, 25, 25], [5, 5, 5]]


@pytest.mark.parametrize("release", ["thresholded", "exact"])
@pytest.mark.parametrize("place", range(3))
def test_nothing_is_shown_where_a_hospital_shares_two_rows_of_one_person(release, place):
    """Four rows of one token would fill the places of three hospitals: the row of another would not count."""
    typed = CohortCount().parameters(steps=("s",), linkage=True, linked=({"how": "anywhere"},))
    chosen, released = (
        CohortCount(),
        Released(DisclosurePolicy(minimum_sites=1, release=release), ("a", "b", "c")),
    )
    inputs: dict[str, dict[str, object]] = {"persons": {}}
    with World("plain") as world:
        for number, name in enumerate("abc"):
            columns = chosen.local(typed, everybody(range(100, 200), range(900, 940)))["persons"]
            if number == place:
                columns = {one: np.concatenate([value, *[value[:1]] * 3]) for one, value in columns.items()}
            inputs["persons"][name] = {
                one.name: world.share_column(one, columns[one.name])
                for one in chosen.tables(typed)[0].columns
            }
        opened = world.run(lambda session, given: chosen.compute(session, typed, released, given), inputs)
    assert (opened["sound"].tolist(), opened["value"].tolist()) == ([False], [0, 0])
    result = chosen.finish(typed, released, opened)
    assert shown(result) == ["suppressed", "suppressed"]
    assert result.notes == [LINKED, REPEATED]


def test_the_answer_says_whose_records_each_step_looked_at(run):
    typed = parameters(first=True)
    rows = rows_of(some(1, 20), first=True)
    result = run(
        "cohort_count", typed.model_dump(), {"a": SiteData(pd.DataFrame(), linked=rows)}, policy=EXACT
    )
    assert result.notes == [
        f"{LINKED} The entry is a person's earliest at any hospital, and counts "
        "only if no hospital has an earlier record of its kind or of a death. Judged on the records of all hospitals: "
        "“step 1”, “step 2”, “step 6”, “step 7”. Judged at the hospital of the entry alone: “step 3”, “step 4”."
    ]


def test_try_count_agrees_with_sql_on_persons_who_overlap(tmp_path):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "site": rng.choice(list("xyz"), 400),
            "number": rng.integers(0, 150, 400),
            "age": rng.integers(20, 90, 400),
            "sex": rng.choice(["f", "m"], 400),
        }
    )
    frame["name"] = frame["number"].map(lambda n: f"Ünal {n % 50}")
    written = frame.assign(
        name=[n.upper() if i % 2 else n.replace("Ü", "U") for i, n in enumerate(frame["name"])]
    )
    file = tmp_path / "persons.csv"
    written.to_csv(file, index=False)

    def answer(*arguments: str) -> dict:
        call = [
            "count",
            str(file),
            "--where",
            "age >= 60",
            "--then",
            "sex == 'f'",
            "--site",
            "site",
            *arguments,
        ]
        done = CliRunner().invoke(try_app, [*call, "--protocol", "rep3", "--release", "exact", "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.output)

    for link, who in (("number", "number"), ("name,number", "(name, number)"), ("name", "name")):
        sql = f"""SELECT count(DISTINCT {who}), count(DISTINCT {who}) FILTER (age >= 60),
            count(DISTINCT {who}) FILTER (age >= 60 AND sex = 'f') FROM frame"""
        found = answer("--link", link)
        counts = (found["population"], *(step["count"] for step in found["steps"]))
        assert found["linked"] and tuple(one["value"] for one in counts) == duckdb.sql(sql).fetchone()
    apart = answer("--person", "number")
    assert not apart["linked"] and apart["population"]["value"] > frame["number"].nunique()


def test_who_lacks_an_identifier_is_a_person_of_their_own(tmp_path):
    file = tmp_path / "persons.csv"
    file.write_text("site,id,age\nx,1,60\ny,1,60\nx,,60\ny,,60\n")
    call = ["count", str(file), "--where", "age > 50", "--site", "site", "--link", "id"]
    done = CliRunner().invoke(try_app, [*call, "--protocol", "rep3", "--release", "exact", "--json"])
    assert json.loads(done.output)["count"]["value"] == 3


def test_parameters_and_rows_that_do_not_fit_are_refused():
    with pytest.raises(ParametersRefused, match="linkage: true"):
        parse_parameters("cohort_count", {"steps": ["s"], "linked": [{"how": "anywhere"}]})
    with pytest.raises(ParametersRefused, match="1 steps are named and 2"):
        parse_parameters(
            "cohort_count", {"steps": ["s"], "linkage": True, "linked": [{"how": "anywhere"}] * 2}
        )
    for hows in ([{"how": "since"}], [{"how": "anywhere"}, {"how": "entry"}]):
        with pytest.raises(ParametersRefused, match="after one entry"):
            parameters(hows)
    chosen, typed = CohortCount(), parameters([{"how": "anywhere"}])
    with pytest.raises(ParametersRefused, match="linked: none announced"):
        chosen.tables(parse_parameters("cohort_count", {"steps": ["s"], "linkage": True}))
    with pytest.raises(LocalDataError, match="no tokens"):
        chosen.local(typed, SiteData(pd.DataFrame()))
    with pytest.raises(LocalDataError, match="8 steps, the study announces 1"):
        chosen.local(typed, SiteData(pd.DataFrame(), linked=rows_of(some(1, 3), first=False)))
