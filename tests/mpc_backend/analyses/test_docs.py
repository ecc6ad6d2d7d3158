"""Each kind of analysis has a page that names every parameter a study may set."""

from pathlib import Path

import pytest

from mpc_backend.analyses.registry import KINDS

DOCS = Path(__file__).resolve().parents[3] / "docs" / "analyses"


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_explained(kind):
    page = (DOCS / f"{kind}.md").read_text(encoding="utf-8")
    missing = [name for name in KINDS[kind].parameters.model_fields if f"`{name}`" not in page]
    assert not missing
    assert f"({kind}.md)" in (DOCS / "README.md").read_text(encoding="utf-8")
