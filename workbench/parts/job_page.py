"""What the result pages share: watch a job until it ends, then read its answer; receipt and downloads."""

from __future__ import annotations

import json
from collections.abc import Callable

import pandas as pd
import streamlit as st

from governance.errors import GovernanceError
from governance.federation import Federation
from governance.receipt import Receipt, VerifiedReceipt, verify_receipt
from site_connector.plain import literal
from workbench.accounts import SignIn
from workbench.context import Workbench
from workbench.jobs import FAILED, UNFINISHED
from workbench.parts.plain import plain_table
from workbench.parts.progress import POLL_SECONDS, show_progress
from workbench.parts.states import State, show
from workbench.store import JobRow, now


def watch(bench: Workbench, person: SignIn, identifier: str, draw: Callable[[JobRow], None]) -> None:
    """Draw a job: its progress while it runs (polled by one fragment), its answer through ``draw`` once done."""
    job = bench.jobs.get(identifier, person.account)
    if job.state in UNFINISHED:

        @st.fragment(run_every=POLL_SECONDS)
        def poll() -> None:
            seen = bench.jobs.get(identifier, person.account)
            if seen.state not in UNFINISHED:
                st.rerun(scope="app")
            show_progress(seen, now())

        poll()
    elif job.state == FAILED:
        show(State("error", f"No answer: {job.error}"))
        st.caption("Nothing was released. Runs that were begun count against the study's number of runs.")
    else:
        draw(job)


def receipt_of(job: JobRow) -> Receipt | None:
    """The receipt that came with a job's answer."""
    return None if job.receipt is None else Receipt.model_validate(job.receipt)


def show_receipt(bench: Workbench, job: JobRow) -> None:
    """The provenance tab: the receipt checked here and now, and how to check it elsewhere."""
    receipt = receipt_of(job)
    if receipt is None:
        st.info("This answer came without a receipt.")
        return
    try:
        verified = verify_receipt(bench.federation, receipt)
    except GovernanceError as error:
        st.error(f"The receipt does not hold: {literal(str(error))}")
        return
    st.success(f"Verified: {len(verified.nodes)} independent nodes attest the same run.")
    plain_table(receipt_table(verified, bench.federation))
    st.download_button(
        "Download receipt", receipt_json(job), file_name="receipt.json", mime="application/json"
    )
    st.caption(
        "Digests are shortened here; the receipt has them in full. Anyone can check it offline: "
        "`tessera verify receipt.json --federation federation.json`."
    )


def receipt_json(job: JobRow) -> str:
    """The receipt as a file."""
    return json.dumps(job.receipt, indent=1)


def receipt_table(verified: VerifiedReceipt, federation: Federation) -> pd.DataFrame:
    """What the nodes attest, one row per fact; digests by their beginning."""
    operators = {node.id: f"{node.organisation} ({node.id})" for node in federation.nodes}
    facts = {
        "Study": _beginning(verified.study_digest),
        "Run": _beginning(verified.run_id),
        "Analysis": verified.analysis,
        "Readable by": verified.recipient,
        "Runs counted so far": str(verified.budget_spent),
        "Attested by": ", ".join(operators[node] for node in verified.nodes),
        **{
            f"Data of {federation.site(site).name}": _beginning(digest)
            for site, digest in verified.inputs.items()
        },
        **_facts(verified, federation),
        "Software": _beginning(verified.software),
    }
    return pd.DataFrame({"Fact": list(facts), "Value": list(facts.values())}).set_index("Fact")


def _facts(verified: VerifiedReceipt, federation: Federation) -> dict[str, str]:
    """What hospitals say of their data, those that say the same together; and which hospitals are not in the answer."""
    names = {site: federation.site(site).name for site in (*verified.data, *verified.left_out)}
    rules: dict[str, list[str]] = {}
    for site, one in verified.data.items():
        said = f"observation: {one.observation_period}; deaths: {one.death}"
        rules.setdefault(f"Up to {one.extract_date}; {said}.", []).append(names[site])
    found = {f"Observation and deaths at {', '.join(sites)}": said for said, sites in rules.items()}
    if verified.left_out:
        found["Not included"] = ", ".join(names[site] for site in verified.left_out)
    return found


def _beginning(digest: str) -> str:
    return f"{digest[:16]}…" if len(digest) > 17 else digest
