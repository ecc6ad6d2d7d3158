"""What nodes agree on before they begin a run: the same software, federation and shares, and how many runs are spent."""

from __future__ import annotations

from governance.envelope import Envelope, peek_document
from governance.errors import GovernanceError
from governance.run_request import RunRequest
from mpc_backend.node.core import NodeCore
from mpc_backend.node.database import RunRow
from mpc_backend.node.rendezvous import Gathering, RunTerms
from mpc_backend.node.runs import Readiness, check_charge, readiness
from mpc_backend.node.studies import find_study

LEADER = 0


class NotNow(Exception):
    """A run cannot start yet; the message says what it waits for. Only a node's own runs see it."""


class Never(Exception):
    """A run will never start; carries the node that says so. Only a node's own runs see it."""

    def __init__(self, why: str, who: str) -> None:
        super().__init__(why)
        self.who = who


def terms_of(core: NodeCore, run_id: str, epoch: str) -> tuple[RunTerms, int]:
    """What this node, as the leader, would run, and the runs charged with it.

    Raises:
        NotNow: uploads are missing.
        GovernanceError: the run may not begin any more.
    """
    with core.database.read() as session:
        row = session.get(RunRow, run_id)
        assert row is not None  # runs are never deleted
        ready = _complete(readiness(core, session, row))
    terms = RunTerms(
        run=run_id,
        epoch=epoch,
        study=row.study,
        federation=core.federation.digest,
        software=core.software,
        sites=ready.sites,
    )
    return terms, ready.charged


def check_leader(core: NodeCore, peer: int, terms: RunTerms) -> None:
    """See that the node that asks is the leader, and has the federation file and the software that this one has.

    Raises:
        Never: it is not, or it has others.
    """
    if peer != LEADER:
        raise Never(f"{core.names[peer]} does not lead this federation", core.entry.id)
    for name, own in (("federation", core.federation.digest), ("software", core.software)):
        theirs = getattr(terms, name)
        if theirs != own:
            raise Never(
                f"runs {name} {own[:12]}, the leader {theirs[:12]}; all nodes must run the same",
                core.entry.id,
            )


def charged_here(core: NodeCore, terms: RunTerms) -> int:
    """The runs charged with this one as this node counts them, if it would run exactly what the leader says.

    Raises:
        NotNow: the run or uploads are not here yet, or a withdrawal is under way.
        Never: the run has ended here, or a site's shares differ from the leader's.
        GovernanceError: the run may not begin any more.
    """
    with core.database.read() as session:
        row = session.get(RunRow, terms.run)
        if row is None:
            raise NotNow("does not have this run; post it to every node")
        if row.state != "waiting":
            raise Never(f"the run is {row.state} here: {row.reason}", row.who or core.entry.id)
        ready = _complete(readiness(core, session, row))
    _compare_sites(dict(terms.sites), ready.sites)
    return ready.charged


def agree_charge(core: NodeCore, gathering: Gathering, peer: int, charged: int) -> None:
    """Take over a peer's count of runs if it is the larger one and can be true.

    Raises:
        Never: it cannot, or is beyond the signed budget; names the peer.
    """
    gathering.charged = max(gathering.charged, charged)
    try:
        _check_charge(core, gathering)
    except GovernanceError as error:
        raise Never(f"{core.names[peer]} counts {charged} runs: {error}", core.names[peer]) from error


def _complete(ready: Readiness) -> Readiness:
    if ready.missing:
        raise NotNow(f"waiting for uploads of {', '.join(ready.missing)}")
    return ready


def _compare_sites(theirs: dict[str, str], own: dict[str, str]) -> None:
    if set(theirs) != set(own):
        raise NotNow(f"sees sites {sorted(own)}, the leader {sorted(theirs)}; a withdrawal is under way")
    for site, manifest in own.items():
        if theirs[site] != manifest:
            raise Never(f"{site} uploaded other shares here than at the leader", site)


def _check_charge(core: NodeCore, gathering: Gathering) -> None:
    with core.database.read() as session:
        row = session.get(RunRow, gathering.terms.run)
        assert row is not None  # checked before
        study = find_study(session, row.study)
        request = peek_document(Envelope.from_canonical(row.request), RunRequest)
        check_charge(session, study, request, gathering.charged)
