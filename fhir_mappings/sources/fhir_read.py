"""Reading FHIR resources from a folder: NDJSON (bulk export), single resources and Bundles, plain or gzipped."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from fhir_mappings.errors import SourceEncodingError, SourceFormatError, SourceMissing

Resource = dict[str, Any]

_LINES = (".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz")
_DOCUMENTS = (".json", ".json.gz")
BUNDLE_TYPES = ("document", "collection", "message", "searchset")


def resource_files(folder: Path) -> list[Path]:
    """The resource files in ``folder`` and below, sorted; SourceMissing when there are none."""
    if not folder.is_dir():
        raise SourceMissing(f"{folder} is not a folder; give the folder of the FHIR export")
    files = sorted(
        f for f in folder.rglob("*") if f.is_file() and f.name.lower().endswith(_LINES + _DOCUMENTS)
    )
    if not files:
        raise SourceMissing(f"{folder} holds no .ndjson, .jsonl or .json file")
    return files


def read_resources(files: list[Path]) -> Iterator[Resource]:
    """Every resource of ``files``, Bundles unpacked.

    Raises SourceFormatError or SourceEncodingError naming file and line: a truncated or damaged export is
    refused whole, since what is missing from it cannot be known.
    """
    for file in files:
        if file.name.lower().endswith(_LINES):
            yield from _read_lines(file)
        else:
            with _open(file) as stream:
                yield from _unpack(_parse(stream.read(), file, None), file, None)


def _open(file: Path) -> Any:
    return gzip.open(file, "rb") if file.suffix.lower() == ".gz" else file.open("rb")


def _read_lines(file: Path) -> Iterator[Resource]:
    number = 0
    loads = orjson.loads
    try:
        with _open(file) as stream:
            for number, line in enumerate(stream, start=1):
                if line.isspace():
                    continue
                try:
                    resource = loads(line)
                except orjson.JSONDecodeError:
                    resource = _parse(line, file, number)
                if type(resource) is dict and resource.get("resourceType") != "Bundle":
                    yield resource
                else:
                    yield from _unpack(resource, file, number)
    except (EOFError, gzip.BadGzipFile):
        raise SourceFormatError(
            f"{file.name} line {number + 1}: the gzip stream ends early or is damaged"
        ) from None


def _parse(text: bytes, file: Path, line: int | None) -> Any:
    """Parse one JSON text; the slow path decides between wrong encoding, byte order mark and damage."""
    where = f"{file.name} line {line}" if line else file.name
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceEncodingError(
            f"{where}: byte {error.start + 1} is not UTF-8, which FHIR requires; export again as UTF-8"
        ) from None
    try:
        return orjson.loads(text.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        problem = "not complete JSON (truncated?)" if error.pos >= len(text.rstrip()) - 1 else "not JSON"
        raise SourceFormatError(
            f"{where}: {problem} at character {error.pos + 1}; fetch the export again"
        ) from None


def _unpack(resource: Any, file: Path, line: int | None) -> Iterator[Resource]:
    where = f"{file.name} line {line}" if line else file.name
    if type(resource) is not dict:
        raise SourceFormatError(f"{where}: a JSON {type(resource).__name__}, not a FHIR resource")
    if resource.get("resourceType") != "Bundle":
        yield resource
        return
    if resource.get("type") not in BUNDLE_TYPES:
        raise SourceFormatError(
            f"{where}: a Bundle of a type that does not hold a record; accepted are {', '.join(BUNDLE_TYPES)}"
        )
    for entry in resource.get("entry") or ():
        inner = entry.get("resource") if type(entry) is dict else None
        if type(inner) is dict:
            url = entry.get("fullUrl")
            if type(url) is str and url.startswith("urn:uuid:"):
                inner["id"] = url.removeprefix("urn:uuid:")
            yield from _unpack(inner, file, line)
