"""Where the study files, cohort texts and the CSV mapping of the demonstration lie."""

from __future__ import annotations

from pathlib import Path

import workbench
from workbench.errors import SettingsError

PATIENT = "advanced"
"""The patient the demonstration's physician asks about unless told otherwise."""


def examples_folder() -> Path:
    """The folder ``examples``: beside the packages in a checkout, inside ``workbench`` as ``example_studies`` when installed.

    Raises:
        SettingsError: it is in neither place.
    """
    package = Path(workbench.__file__).resolve().parent
    for folder in (package.parent / "examples", package / "example_studies"):
        if (folder / "ranking.yaml").is_file():
            return folder
    raise SettingsError(
        f"the folder 'examples' is neither beside {package} nor in it as 'example_studies'; install again"
    )


def patient_file(name: str) -> Path:
    """The facts of one of the examples' patients.

    Raises:
        SettingsError: there is none of that name; names those there are.
    """
    folder = examples_folder() / "patients"
    names = sorted(path.stem for path in folder.glob("*.json"))
    if name not in names:
        raise SettingsError(f"examples/patients has no {name!r}; choose from {', '.join(names)}")
    return folder / f"{name}.json"
