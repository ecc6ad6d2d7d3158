"""Tessera from Python: connect, pick a study, run an analysis, get numbers.

    from workbench.client import connect

    consortium = connect("federation.json", "keys/")
    answer = consortium.study("second-line").run("survival")
    answer.table           # pandas
    answer.result          # the typed result, with what was suppressed and why
    answer.receipt         # signed by every node; `tessera verify` checks it offline
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from governance.approval import InvestigatorSubmission
from governance.envelope import sign_document
from governance.errors import GovernanceError
from governance.federation import Federation
from governance.receipt import Receipt
from governance.study import StudyProtocol
from mpc_backend.analyses.base import Result
from workbench.consortium import Snapshot, StudyView
from workbench.errors import ClientError, RunFailed
from workbench.frames import table_of
from workbench.identities import Identity, load_identity
from workbench.store import now
