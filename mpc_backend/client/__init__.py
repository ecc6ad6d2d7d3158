"""What sites and requesters use: share plaintext, talk to every node, open and verify results."""

from mpc_backend.client.nodes import NodeSet
from mpc_backend.client.results import OpenedRun, finish_result, open_results
from mpc_backend.client.runs import Answer, PreparedRun, open_run, post_run, prepare_run, run, wait_for_run
from mpc_backend.client.sharing import Upload, share_upload

__all__ = [
    "Answer",
    "NodeSet",
    "OpenedRun",
    "PreparedRun",
    "Upload",
    "finish_result",
    "open_results",
    "open_run",
    "post_run",
    "prepare_run",
    "run",
    "share_upload",
    "wait_for_run",
]
