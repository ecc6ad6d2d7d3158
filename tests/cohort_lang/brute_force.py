"""What a definition means, worked out person by person with loops over records: slow, plain, and written
apart from the product's evaluation. Dates are ``datetime.date``; a record is a mapping with the keys of ``KEYS``.
"""

from __future__ import annotations

from datetime import date, timedelta

from cohort_lang import tree

KEYS = [
    "person",
    "id",
    "start",
    "end",
    "concept",
    "source",
    "type",
    "visit",
    "value",
    "value_concept",
    "unit",
    "days_supply",
    "quantity",
    "refills",
]
DAY = timedelta(days=1)


class World:
    """Tables as lists of records by domain; ``persons``: id -> (year of birth, sex); ``periods``:
    (person, start, end).
    """

    def __init__(self, records, persons, periods, concepts, ancestors, maps, ucum):
        self.records, self.persons, self.periods = records, persons, periods
        self.concepts, self.ancestors, self.maps, self.ucum = concepts, ancestors, maps, ucum
        self.sets, self.known = {}, {}

    # ---- concept sets

    def resolve(self, items):
        found = set()
        for item in items:
            own = {item.concept_id}
            if item.descendants:
                own |= {low for high, low in self.ancestors if high == item.concept_id and self.concepts[low]}
            found |= own
            if item.mapped:
                found |= {source for source, target in self.maps if target in own}
        return found

    def declare(self, cohort):
        for declared in cohort.concept_sets:
            wanted = self.resolve([item for item in declared.items if not item.excluded])
            self.sets[declared.name] = wanted - self.resolve([i for i in declared.items if i.excluded])

    # ---- events

    def events(self, event):
        if event not in self.known:
            self.known[event] = self.find(event)
        return self.known[event]

    def find(self, event):
        found = [dict(record) for record in self.records[event.domain]]
        if event.concepts is not None:
            found = [record for record in found if record["concept"] in self.sets[event.concepts]]
        if event.source is not None:
            found = [record for record in found if record["source"] in self.sets[event.source]]
        if event.first:
            best = {}
            for record in sorted(found, key=lambda r: (r["start"], r["id"])):
                best.setdefault(record["person"], record)
            found = list(best.values())
        found = [r for r in found if all(self.has(r, attribute) for attribute in event.attributes)]
        if event.having is not None:
            found = [r for r in found if any(self.holds(i, event.having) for i in self.placed(r))]
        return found

    def placed(self, record):
        """The record as an index, once per observation period that contains its start."""
        for person, start, end in self.periods:
            if person == record["person"] and start <= record["start"] <= end:
                yield {**record, "op_start": start, "op_end": end}

    def has(self, record, attribute):  # noqa: PLR0911  one line an attribute
        match attribute:
            case tree.AgeAt(range=of):
                return within(record["start"].year - self.persons[record["person"]][0], of)
            case tree.SexIs(concepts=concepts):
                return self.persons[record["person"]][1] in concepts
            case tree.Dated(range=of):
                return within(record["start"], of)
            case tree.Ended(range=of):
                return within(record["end"], of)
            case tree.ValueNumber(range=of):
                return within(record["value"], of)
            case tree.UnitIs(units=units):
                return record["unit"] in {self.ucum.get(unit, unit) for unit in units}
            case tree.ValueAmong(concepts=name):
                return record["value_concept"] in self.sets[name]
            case tree.TypeAmong(concepts=name):
                return record["type"] in self.sets[name]
            case tree.Lasting(range=of):
                return within((record["end"] - record["start"]).days, of)
            case tree.Amount(column=column, range=of):
                return within(record[column.replace(" ", "_")], of)
            case tree.DuringVisit(concepts=name):
                return any(
                    visit["id"] == record["visit"]
                    and visit["person"] == record["person"]
                    and visit["concept"] in self.sets[name]
                    for visit in self.records["visit"]
                )
        raise AssertionError(attribute)

    # ---- criteria

    def holds(self, index, criterion):
        match criterion:
            case tree.Group(kind=kind, items=items, n=n):
                held = sum(self.holds(index, item) for item in items)
                return {
                    "all": held == len(items),
                    "any": held > 0,
                    "at least": n is not None and held >= n,
                    "at most": n is not None and held <= n,
                }[kind]
            case tree.Occurrence():
                return self.counts(index, criterion)
        return self.has(index, criterion)

    def counts(self, index, criterion):
        found = [r for r in self.events(criterion.event) if self.near(index, r, criterion)]
        key = {"days": "start", "concepts": "concept", "visits": "visit"}.get(criterion.count.distinct)
        held = len(found) if key is None else len({r[key] for r in found if r[key] is not None})
        n = criterion.count.n
        return {"at least": held >= n, "at most": held <= n, "exactly": held == n}[criterion.count.op]

    def near(self, index, record, criterion):
        if record["person"] != index["person"]:
            return False
        inside = index["op_start"] <= record["start"] <= index["op_end"]
        if not criterion.ignore_observation and not inside:
            return False
        if criterion.same_visit and (record["visit"] is None or record["visit"] != index["visit"]):
            return False
        return all(self.in_window(index, record, w, criterion.ignore_observation) for w in criterion.windows)

    def in_window(self, index, record, window, ignoring):
        day, anchor = record[window.event], index[window.index]
        low = anchor + window.start * DAY if window.start is not None else None
        high = anchor + window.end * DAY if window.end is not None else None
        if not ignoring:
            low = index["op_start"] if low is None else low
            high = index["op_end"] if high is None else high
        return (low is None or day >= low) and (high is None or day <= high)

    # ---- the whole

    def entry(self, entry):
        found = []
        for number, event in enumerate(entry.events):
            for record in self.events(event):
                for index in self.placed(record):
                    before = (index["start"] - index["op_start"]).days
                    after = (index["op_end"] - index["start"]).days
                    if before >= entry.prior_days and after >= entry.later_days:
                        found.append({**index, "number": number})
        found.sort(key=lambda i: (i["start"], i["end"], i["op_start"], i["op_end"], i["number"], i["id"]))
        found = limited(found, entry.limit)
        if entry.qualify is not None:
            found = limited([i for i in found if self.holds(i, entry.qualify)], entry.qualify_limit)
        return found

    def end(self, index, cohort):
        match cohort.exit:
            case tree.EndOfObservation():
                end = index["op_end"]
            case tree.FixedDays(days=days, after=after):
                end = min(index["op_end"], index[after] + days * DAY)
            case exposure:
                end = min([index["op_end"], *self.run_ends(index, exposure)])
        for event in cohort.censors:
            for record in self.events(event):
                if (
                    record["person"] == index["person"]
                    and index["start"] <= record["start"] <= index["op_end"]
                ):
                    end = min(end, record["start"])
        return end

    def run_ends(self, index, exposure):
        spans = []
        for record in self.records["drug exposure"]:
            names = self.sets[exposure.concepts]
            if record["person"] == index["person"] and (
                record["concept"] in names or record["source"] in names
            ):
                length = record["end"]
                if exposure.supply_days is not None:
                    length = record["start"] + exposure.supply_days * DAY
                spans.append((record["start"], length + exposure.extra_days * DAY))
        return [end for start, end in merged(spans, exposure.gap_days) if start <= index["start"] <= end]

    def evaluate(self, cohort):
        """(entries as sorted tuples, attrition as counts)."""
        self.declare(cohort)
        left = self.entry(cohort.entry)
        attrition = [len({i["person"] for i in left})]
        for rule in cohort.rules:
            left = [i for i in left if self.holds(i, rule.criterion) != rule.excludes]
            attrition.append(len({i["person"] for i in left}))
        left = limited(left, cohort.keep)
        entries = []
        for person in sorted({i["person"] for i in left}):
            spans = [(i["start"], self.end(i, cohort)) for i in left if i["person"] == person]
            spans = merged([s for s in spans if s[0] <= s[1]], cohort.combine_days)
            entries += [(person, *span) for span in clipped(spans, cohort.period)]
        if cohort.period is not None:
            attrition.append(len({entry[0] for entry in entries}))
        return sorted(entries), attrition


def limited(found, limit):
    if limit == "all":
        return found
    best = {}
    for index in found:
        held = best.setdefault(index["person"], index)
        sooner = index["start"] < held["start"]
        if index["start"] != held["start"] and sooner == (limit == "first"):
            best[index["person"]] = index
    return [index for index in found if best[index["person"]] is index]


def merged(spans, gap):
    out = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1] + gap * DAY:
            out[-1][1] = max(out[-1][1], end)
        else:
            out.append([start, end])
    return [tuple(span) for span in out]


def clipped(spans, period):
    low, high = date.min, date.max
    if period is not None:
        low = period.low if period.op != "at most" else low
        high = {"at most": period.low, "at least": high, "between": period.high}[period.op]
    cut = [(max(start, low), min(end, high)) for start, end in spans]
    return [span for span in cut if span[0] <= span[1]]


def within(value, of):
    if value is None:
        return False
    return {
        "at least": lambda: value >= of.low,
        "at most": lambda: value <= of.low,
        "more than": lambda: value > of.low,
        "less than": lambda: value < of.low,
        "exactly": lambda: value == of.low,
        "not exactly": lambda: value != of.low,
        "between": lambda: of.low <= value <= of.high,
        "not between": lambda: value < of.low or value > of.high,
    }[of.op]()
