"""Running one analysis over all nodes in this process, under the policy of the ``--release`` option."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Analysis, Parameters, Released, Result, SiteData
from mpc_backend.analyses.errors import InputsRefused, LocalDataError, ParametersRefused
from mpc_backend.analyses.plain import run_here
from mpc_backend.protocols import SHARED

FINE_ROUNDING, ROUNDING = 5, 10


@dataclass(frozen=True)
class Setting:
    """How to run: protocol and what may be released."""

    protocol: str
    release: str

    @property
    def smallest_cell(self) -> int:
        """The smallest number of persons anything is said about."""
        return 1 if self.release == "exact" else self.policy(1).minimum_cell

    def policy(self, sites: int) -> DisclosurePolicy:
        """The disclosure policy of ``exact`` or ``k=N``; three hospitals are asked for where there are three."""
        least = min(3, sites)
        if self.release == "exact":
            return DisclosurePolicy(release="exact", minimum_sites=least, rounding=1)
        name, _, number = self.release.partition("=")
        if name != "k" or not number.isdigit():
            raise ParametersRefused(f"--release takes exact or k=N (k=10, for example), found {self.release}")
        k = int(number)
        rounding = ROUNDING if k >= ROUNDING else FINE_ROUNDING
        try:
            return DisclosurePolicy(minimum_cell=k, rounding=rounding, minimum_sites=least)
        except ValidationError as error:
            said = error.errors()[0]
            why = said.get("ctx", {}).get("error", said["msg"])  # without pydantic's "Value error, "
            raise ParametersRefused(f"--release k={k}: {why}") from error


@dataclass(frozen=True)
class Answer:
    """A result, the protocol it was computed under and the seconds it took, sharing included."""

    result: Result
    protocol: str
    seconds: float


def answer(
    analysis: Analysis[Any],
    parameters: Parameters,
    setting: Setting,
    sites: Mapping[str, SiteData],
    facts: Mapping[str, object] | None = None,
    names: Mapping[str, str] | None = None,
) -> Answer:
    """Share, compute, open and finish. ``names``: names inside the study -> columns of the file, which refusals name.

    Raises:
        ParametersRefused: an unknown protocol or release.
        AnalysisError: the data or the policy do not allow it.
    """
    if setting.protocol not in SHARED:
        raise ParametersRefused(f"--protocol takes {' or '.join(SHARED)}, found {setting.protocol}")
    released = Released(setting.policy(len(sites)), tuple(sites))
    start = time.perf_counter()
    try:
        result = run_here(analysis, parameters, released, sites, facts=facts, protocol=setting.protocol)
    except (LocalDataError, InputsRefused) as error:
        said = re.sub(r"\w+", lambda word: (names or {}).get(word[0], word[0]), str(error))
        raise type(error)(said) from error
    return Answer(result, setting.protocol, time.perf_counter() - start)
