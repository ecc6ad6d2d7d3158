"""The JSON schemas of what `tessera try VERB --json` prints: files under docs/schemas, made from the models.

``python -m mpc_backend.try_.schemas FOLDER`` writes them anew; a test holds the files against the models.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from mpc_backend.try_.compare import CompareOutput
from mpc_backend.try_.competing_risks import CompetingOutput
from mpc_backend.try_.correlation import CorrelationOutput
from mpc_backend.try_.count import CountOutput
from mpc_backend.try_.ranking import RankingOutput
from mpc_backend.try_.regression import LinearOutput, LogisticOutput
from mpc_backend.try_.survival_output import SurvivalOutput
from mpc_backend.try_.table_one import TableOneOutput

VERBS: Mapping[str, type[BaseModel]] = {
    "compare": CompareOutput,
    "competing-risks": CompetingOutput,
    "correlation": CorrelationOutput,
    "count": CountOutput,
    "linear": LinearOutput,
    "logistic": LogisticOutput,
    "ranking": RankingOutput,
    "survival": SurvivalOutput,
    "table-one": TableOneOutput,
}


def schema_text(verb: str) -> str:
    """The file of one verb."""
    schema = VERBS[verb].model_json_schema(mode="serialization")
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=1) + "\n"


def write(folder: Path) -> None:
    """All files, ``try-VERB.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    for verb in VERBS:
        (folder / f"try-{verb}.json").write_text(schema_text(verb), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
