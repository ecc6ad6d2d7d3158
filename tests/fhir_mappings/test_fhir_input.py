"""Damaged, odd and hostile FHIR extracts: refused whole with a clear message, or counted and reported."""

import gzip
import threading

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_mappings.errors import (
    SourceEmpty,
    SourceEncodingError,
    SourceError,
    SourceFormatError,
    SourceMissing,
)
from fhir_mappings.profile import Profile
from fhir_mappings.sources import fhir
from fhir_mappings.sources.fhir import load_fhir
from fhir_mappings.sources.fhir_read import read_resources, resource_files

SECRET = "Mustermann-4711"


def load(site):
    return load_fhir(site.extract, site.database, site.vocabulary, Profile())


def write(site, *lines, name="part.ndjson"):
    (site.extract / name).write_bytes(b"".join(lines))


def line(resource):
    return orjson.dumps(resource) + b"\n"


@pytest.mark.parametrize(
    ("broken", "error", "says"),
    [
        (
            b'{"resourceType":"Condition","id":"' + SECRET.encode(),
            SourceFormatError,
            "line 2: not complete JSON",
        ),
        (b'{"resourceType":"Cond', SourceFormatError, "line 2: not complete JSON"),
        (
            b'{"name": ' + SECRET.encode() + b', "resourceType": "Patient"}\n',
            SourceFormatError,
            "line 2: not JSON",
        ),
        (
            b'{"resourceType":"Patient","id":"M\xfcller"}\n',
            SourceEncodingError,
            "line 2: byte 34 is not UTF-8",
        ),
        (b'["' + SECRET.encode() + b'"]\n', SourceFormatError, "line 2: a JSON list, not a FHIR resource"),
        (b'{"resourceType":"Bundle","type":"history"}\n', SourceFormatError, "line 2: a Bundle of a type"),
    ],
)
def test_damage_is_refused_with_file_and_line(site, build, broken, error, says):
    write(site, line(build["patient"]()), broken)
    with pytest.raises(error, match=r"^part\.ndjson ") as caught:
        load(site)
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)
    assert list(site.database.parent.iterdir()) == [site.extract]


def test_empty_and_missing_folders(site, tmp_path):
    with pytest.raises(SourceMissing, match=r"holds no \.ndjson"):
        load(site)
    with pytest.raises(SourceMissing, match="not a folder"):
        load_fhir(tmp_path / "nowhere", site.database, None, Profile())


def test_an_extract_without_usable_patients_is_refused_saying_why(site, build):
    write(site, line(build["patient"](birthDate=None)), line(build["condition"]()))
    with pytest.raises(SourceEmpty, match="no birth date: 1"):
        load(site)


def test_unknown_types_are_counted_and_not_fatal(site, build):
    write(
        site,
        b"\xef\xbb\xbf" + line(build["patient"]()),
        b"\n",
        line({"resourceType": "Location", "id": "l"}),
        line({"resourceType": f"{SECRET} 1", "id": "l"}),
        line({"table_name": "patient"}),
    )
    assert load(site).ignored == {"Location": 1, "(no FHIR resource type)": 2}


def test_any_names_subfolders_gzip_single_resources_and_bundles(site, build):
    below = site.extract / "Output 2" / "x"
    below.mkdir(parents=True)
    (below / "whatever.NDJSON.gz").write_bytes(gzip.compress(line(build["patient"]())))
    (site.extract / "one.json").write_bytes(orjson.dumps(build["condition"](), option=orjson.OPT_INDENT_2))
    entry = {"fullUrl": "urn:uuid:p2", "resource": build["patient"]("other")}
    linked = build["condition"]("c2", subject={"reference": "urn:uuid:p2"})
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [entry, {"resource": linked}]}
    (site.extract / "bundle.json").write_bytes(orjson.dumps(bundle))
    (site.extract / "notes.txt").write_text("not read")
    report = load(site)
    assert {i.name: i.loaded for i in report.inputs} == {"Patient": 2, "Condition": 2}


def test_a_truncated_gzip_is_refused(site, build):
    whole = gzip.compress(b"".join(line(build["patient"](f"p{i}")) for i in range(500)))
    write(site, whole[:-50], name="patients.ndjson.gz")
    with pytest.raises(SourceFormatError, match="gzip stream ends early"):
        load(site)


@pytest.mark.parametrize(
    "wrong",
    [
        {"code": ["not", "a", "concept"]},
        {"code": {"coding": [{"system": "http://snomed.info/sct", "code": 5}]}},
        {"onsetDateTime": 20200101},
        {"subject": "Patient/p1"},
        {"id": 7},
        {"meta": "x"},
    ],
)
def test_a_resource_with_wrong_json_types_is_rejected_alone(site, build, wrong):
    site.load(build["patient"](), build["condition"]("good"), build["condition"]("bad") | wrong)
    entry = site.input("Condition")
    assert (entry.loaded, entry.rejected) == (1, {"not as FHIR R4 defines the resource": 1})


def test_a_value_of_the_wrong_type_is_rejected_alone(site, build):
    site.load(build["patient"](), build["lab"]("good"), build["lab"]("bad", valueQuantity={"value": "seven"}))
    entry = site.input("Observation")
    assert (entry.loaded, entry.rejected) == (1, {"not as FHIR R4 defines the resource": 1})
    assert site.rows("SELECT value_as_number FROM measurement") == [(7.5,)]


def test_records_without_an_id(site, build):
    nameless = build["condition"]()
    del nameless["id"]
    person = build["patient"]()
    del person["id"]
    site.load(build["patient"](), nameless, nameless, person)
    assert (site.input("Condition").loaded, site.input("Condition").duplicates) == (2, 0)
    assert site.input("Patient").rejected == {"no id": 1}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["coding", "code", "system", "reference", "value", "start"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
KINDS = [
    "Patient",
    "Encounter",
    "Condition",
    "Procedure",
    "Observation",
    "MedicationRequest",
    "AllergyIntolerance",
]
FIELDS = [
    "id",
    "status",
    "code",
    "subject",
    "period",
    "class",
    "valueQuantity",
    "category",
    "component",
    "birthDate",
]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS), JSON)), max_size=12)
)
def test_no_json_value_stops_a_load_and_every_record_is_accounted_for(site, build, records):
    report = site.load(build["patient"](), *[{"resourceType": kind, **fields} for kind, fields in records])
    assert sum(entry.rows_in for entry in report.inputs) == len(records) + 1
    for entry in report.inputs:
        assert entry.rows_in == entry.loaded + entry.duplicates + sum(entry.rejected.values())


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.dates()
        | st.text("0123456789-T:Z", max_size=12)
        | st.sampled_from(["infinity", "epoch", "2020-02-30"]),
        min_size=1,
        max_size=20,
    )
)
def test_dates_are_kept_exactly_or_rejected(site, build, days):
    written = [str(day) for day in days]
    site.load(
        build["patient"](), *[build["condition"](f"c{i}", onsetDateTime=x) for i, x in enumerate(written)]
    )
    kept = {str(row[0]) for row in site.rows("SELECT condition_start_date FROM condition_occurrence")}
    full = {x for x in map(str, days) if len(x) == 10 and "1900-01-01" <= x <= "2024-01-01"}
    from datetime import date

    expected = {
        str(day) for day in days if isinstance(day, date) and date(1900, 1, 1) <= day <= date(2024, 1, 1)
    }
    assert expected <= kept
    assert all(day in full or day[:4] in {x[:4] for x in written} for day in kept)
    assert all("1900-01-01" <= day <= "2024-01-01" for day in kept)


def test_a_failed_load_leaves_the_old_database_untouched(site, build):
    site.load(build["patient"](), build["condition"]())
    before = site.database.read_bytes()
    (site.extract / "all.ndjson").write_bytes(b'{"resourceType": "Patient", ')
    with pytest.raises(SourceError):
        load(site)
    assert site.database.read_bytes() == before
    assert sorted(p.name for p in site.database.parent.iterdir()) == ["cdm.duckdb", "extract"]


def test_a_load_that_breaks_off_late_leaves_nothing(site, build, monkeypatch):
    site.load(build["patient"]())
    before = site.database.read_bytes()

    def broken(*_args, **_kwargs):
        raise RuntimeError("power cut")

    monkeypatch.setattr(fhir, "assemble", broken)
    with pytest.raises(RuntimeError, match="power cut"):
        site.load(build["patient"](), build["condition"]())
    assert site.database.read_bytes() == before
    assert sorted(p.name for p in site.database.parent.iterdir()) == ["cdm.duckdb", "extract"]


def test_abandoned_files_are_removed_but_not_those_of_a_running_load(site, build):
    import os

    folder = site.database.parent
    dead, alive = (
        folder / ".cdm.duckdb.999999999-aa.loading",
        folder / f".cdm.duckdb.{os.getpid()}-bb.loading",
    )
    dead.write_bytes(b"x")
    alive.write_bytes(b"x")
    site.load(build["patient"]())
    assert not dead.exists()
    assert alive.exists()


def test_readers_keep_their_snapshot_while_a_load_replaces_the_database(site, build):
    import duckdb

    site.load(build["patient"]())
    with duckdb.connect(str(site.database), read_only=True) as reader:
        worker = threading.Thread(target=site.load, args=(build["patient"](), build["patient"]("p2")))
        worker.start()
        worker.join()
        assert reader.execute("SELECT count(*) FROM person").fetchall() == [(1,)]
    assert site.rows("SELECT count(*) FROM person") == [(2,)]


def test_reading_is_lazy(site, build):
    write(site, line(build["patient"]()), b"{broken")
    resources = read_resources(resource_files(site.extract))
    assert next(resources)["id"] == "p1"
