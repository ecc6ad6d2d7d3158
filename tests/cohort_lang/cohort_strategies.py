"""Generated cohort trees: any that the grammar can write, with whatever names and numbers."""

from __future__ import annotations

from datetime import date

from hypothesis import strategies as st

from cohort_lang import tree

OPS = ["at least", "at most", "more than", "less than", "exactly", "not exactly", "between", "not between"]
VALUED = ["measurement", "observation"]
LASTING = ["visit", "visit detail", "condition era", "drug era", "observation period"]
CODED = ["condition", "drug exposure", "procedure", "measurement", "observation", "device exposure"]
TYPED = [*CODED, "visit", "visit detail", "death", "observation period"]
DOMAINS = [*dict.fromkeys([*TYPED, *LASTING])]

labels = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=20).filter(
    str.strip
)
names = st.one_of(
    st.from_regex(r"[^\W\d][\w\-]{0,8}", fullmatch=True), labels, st.sampled_from(["index", "visit", "of"])
)
days = st.integers(0, 400)
numbers = st.decimals(-1000, 1000, places=2)


def ranges(values):
    def build(op, low, high):
        return tree.Range(op, low, high if "between" in op else None)

    return st.builds(build, st.sampled_from(OPS), values, values)


number_ranges, date_ranges = ranges(numbers), ranges(st.dates(date(1900, 1, 1), date(2099, 12, 31)))
demographics = st.one_of(
    st.builds(tree.AgeAt, number_ranges),
    st.builds(tree.SexIs, st.lists(st.sampled_from([8507, 8532, 8551]), min_size=1, max_size=3).map(tuple)),
    st.builds(tree.Dated, date_ranges),
    st.builds(tree.Ended, date_ranges),
)


def attributes(domain, sets):
    options = [demographics]
    if domain in VALUED:
        units = st.lists(st.one_of(labels, st.integers(0, 99999)), min_size=1, max_size=3).map(tuple)
        options += [st.builds(tree.ValueNumber, number_ranges), st.builds(tree.UnitIs, units)]
        options += [st.builds(tree.ValueAmong, sets)]
    if domain in LASTING:
        options.append(st.builds(tree.Lasting, number_ranges))
    if domain in CODED:
        options.append(st.builds(tree.DuringVisit, sets))
    if domain in TYPED:
        options.append(st.builds(tree.TypeAmong, sets))
    if domain == "drug exposure":
        columns = st.sampled_from(["days supply", "quantity", "refills"])
        options.append(st.builds(tree.Amount, columns, number_ranges))
    return st.lists(st.one_of(options), max_size=3).map(tuple)


@st.composite
def events(draw, sets, depth=1):
    domain = draw(st.sampled_from(DOMAINS))
    concepts = None if domain == "observation period" else draw(st.none() | sets)
    source = draw(st.none() | sets) if domain in CODED else None
    having = draw(st.none() | criteria(sets, depth - 1)) if depth else None
    return tree.Event(domain, concepts, source, draw(st.booleans()), draw(attributes(domain, sets)), having)


offsets = st.none() | st.integers(-400, 400) | st.sampled_from([-1, 0, 1])
edges = st.sampled_from(["start", "end"])


@st.composite
def windows(draw):
    start, end = draw(offsets), draw(offsets)
    # With both sides open there is no anchor to write, so no edge of the index either.
    return tree.Window(start, end, draw(edges), "start" if start is end is None else draw(edges))


counts = st.builds(
    tree.Count,
    st.sampled_from(["at least", "at most", "exactly"]),
    st.integers(0, 9),
    st.sampled_from([None, "days", "concepts", "visits"]),
)


def occurrences(sets, depth=1):
    both = st.lists(windows(), max_size=2).map(tuple)
    return st.builds(tree.Occurrence, events(sets, depth), counts, both, st.booleans(), st.booleans())


@st.composite
def groups(draw, sets, depth):
    kind = draw(st.sampled_from(["all", "any", "at least", "at most"]))
    items = tuple(draw(st.lists(criteria(sets, depth - 1), min_size=1, max_size=3)))
    return tree.Group(kind, items, draw(st.integers(0, 4)) if kind.startswith("at") else None)


def criteria(sets, depth=2):
    leaves = st.one_of(demographics, occurrences(sets, max(0, depth - 1)))
    return leaves if depth <= 0 else st.one_of(leaves, groups(sets, depth))


items = st.builds(
    tree.ConceptItem,
    st.integers(0, 2**31 - 1),
    st.none() | labels,
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@st.composite
def exits(draw, sets):
    return draw(
        st.one_of(
            st.just(tree.EndOfObservation()),
            st.builds(tree.FixedDays, days, edges),
            st.builds(tree.EndOfExposure, sets, days, days, st.none() | days),
        )
    )


@st.composite
def cohorts(draw):
    declared = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    sets = st.sampled_from(declared)
    limits = st.sampled_from(["all", "first", "last"])
    qualify = draw(st.none() | criteria(sets, 1))
    entry = tree.Entry(
        tuple(draw(st.lists(events(sets), min_size=1, max_size=3))),
        draw(days),
        draw(days),
        draw(limits),
        qualify,
        draw(limits) if qualify is not None else "all",
    )
    periods = date_ranges.filter(lambda found: found.op in ("at least", "at most", "between"))
    return tree.Cohort(
        name=draw(labels),
        entry=entry,
        concept_sets=tuple(
            tree.ConceptSet(name, tuple(draw(st.lists(items, min_size=1, max_size=4)))) for name in declared
        ),
        rules=tuple(draw(st.lists(st.builds(tree.Rule, labels, criteria(sets), st.booleans()), max_size=3))),
        exit=draw(exits(sets)),
        censors=tuple(draw(st.lists(events(sets), max_size=2))),
        keep=draw(limits),
        combine_days=draw(days),
        period=draw(st.none() | periods),
        description=draw(st.none() | labels),
    )


__all__ = ["cohorts", "criteria", "events"]
