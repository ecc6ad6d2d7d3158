"""Key agreement: who ends up with which key, and every lie ends it."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from governance.keys import SigningKey
from mpc_backend import keys as agreed
from mpc_backend.errors import ProtocolAbort
from mpc_backend.keys import GIVEN_BYTES, JobBinding, _PairSecrets, agree_keys
from mpc_backend.protocols.keys import JobKeys, random_keys
from mpc_backend.transport.certificates import TrustedNodes
from mpc_backend.transport.errors import KeyAgreementError
from mpc_backend.transport.memory import MemoryNetwork

from .conftest import Mesh, Party, in_parallel


def binding(party: Party) -> JobBinding:
    run, study, software, inputs = (bytes([n]) * 32 for n in range(4))
    return JobBinding(
        run=run,
        epoch=7,
        study=study,
        federation=bytes.fromhex(party.federation.digest),
        software=software,
        inputs=inputs,
        certificates=TrustedNodes(party.federation).fingerprints,
        identities=tuple(node.identity_key for node in party.federation.nodes),
    )


def agree(party: Party, bindings: list[JobBinding], tamper=None, signers=None) -> list[object]:
    network = MemoryNetwork(4, deadline=5, tamper=tamper)
    keys = signers or [SigningKey.load(party.directory(index).identity_key) for index in range(4)]

    def run(index: int) -> JobKeys:
        transport = network.transport(index)
        try:
            return agree_keys(index, bindings[index], transport, keys[index].sign)
        except KeyAgreementError as error:
            transport.abort(str(error))
            raise
        finally:
            transport.close()

    return in_parallel([lambda index=index: run(index) for index in range(4)])


def every_key(one: JobKeys) -> list[bytes]:
    return [one.everyone, *one.everyone_but.values(), *one.pair.values(), *one.mac.values()]


def check_layout(found: list[JobKeys]) -> None:
    assert len({one.everyone for one in found}) == 1, "all share one key"
    for j in range(4):
        held = {one.everyone_but[j] for index, one in enumerate(found) if index != j}
        assert len(held) == 1, "everybody but j shares one key"
        assert not held & set(every_key(found[j])), "and j does not hold it"
    for a, b in permutations(range(4), 2):
        assert found[a].pair[b] == found[b].pair[a]
        assert found[a].mac[a, b] == found[b].mac[a, b]
        others = [key for index, one in enumerate(found) if index not in (a, b) for key in every_key(one)]
        assert not {found[a].pair[b], found[a].mac[a, b]} & set(others), "nobody else holds a pair's keys"
    every = [key for one in found for key in every_key(one)]
    assert all(len(key) == 16 for key in every)
    assert len(set(every)) == 1 + 4 + 6 + 12, "every purpose has a key of its own"


def test_agreed_keys_are_held_by_exactly_their_members(party: Party) -> None:
    found = agree(party, [binding(party)] * 4)
    check_layout(found)  # type: ignore[arg-type]


def test_keys_are_not_shown() -> None:
    one = random_keys(4)[0]
    assert not [key for key in every_key(one) if key.hex() in repr(one) or repr(key) in repr(one)]


def test_keys_made_in_one_process_have_the_same_layout() -> None:
    check_layout(random_keys(4))


def test_every_start_has_new_keys(party: Party) -> None:
    first, second = agree(party, [binding(party)] * 4), agree(party, [binding(party)] * 4)
    old, new = ({key for one in found for key in every_key(one)} for found in (first, second))  # type: ignore[arg-type]
    assert len(old) == len(new) == 23
    assert not old & new


@pytest.mark.parametrize("what", ["run", "study", "federation", "software", "inputs", "epoch"])
def test_keys_are_bound_to_what_they_are_for(
    party: Party, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Where all that is drawn at random is the same, other keys still come of another study, run, software, ..."""
    same = X25519PrivateKey.from_private_bytes(bytes(range(32)))
    monkeypatch.setattr(agreed, "X25519PrivateKey", SimpleNamespace(generate=lambda: same))
    monkeypatch.setattr(agreed, "secrets", SimpleNamespace(token_bytes=lambda count: bytes([7]) * count))
    mine = binding(party)
    found = []
    for one in (mine, mine, replace(mine, **{what: 8 if what == "epoch" else bytes([9]) * 32})):
        found.append({key for node in agree(party, [one] * 4) for key in every_key(node)})  # type: ignore[arg-type]
    assert found[0] == found[1]
    assert len(found[0]) == len(found[2]) == 23
    assert not found[0] & found[2]


def test_no_key_encrypts_twice(party: Party, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nonce of what nodes give each other is always the same."""
    used: Counter[bytes] = Counter()
    sealing = agreed.AESGCM

    def noted(key: bytes) -> Any:
        made = sealing(key)

        def encrypt(nonce: bytes, data: bytes, more: bytes) -> bytes:
            used[key + nonce] += 1
            return made.encrypt(nonce, data, more)

        return SimpleNamespace(encrypt=encrypt, decrypt=made.decrypt)

    monkeypatch.setattr(agreed, "AESGCM", noted)
    agree(party, [binding(party)] * 4)
    assert len(used) == 12
    assert set(used.values()) == {1}


def test_a_proof_that_is_sent_back_proves_nothing(party: Party) -> None:
    """Node 3 says what node 0 says to it; it holds the same keys or not."""
    proof: list[bytes] = []
    here = threading.Event()

    def mirrored(sender: int, receiver: int, number: int, payload: bytes) -> bytes:
        if (sender, receiver, number) == (0, 3, 2):
            proof.append(payload)
            here.set()
        if (sender, receiver, number) == (3, 0, 2):
            assert here.wait(5)
            return proof[0]
        return payload

    assert "node 3 holds other keys" in str(agree(party, [binding(party)] * 4, tamper=mirrored)[0])


@pytest.mark.parametrize(
    "what", ["run", "study", "federation", "software", "inputs", "epoch", "certificates"]
)
def test_a_node_that_runs_something_else_agrees_with_nobody(party: Party, what: str) -> None:
    mine = binding(party)
    other: object = secrets.token_bytes(32)
    if what == "epoch":
        other = 8
    if what == "certificates":
        other = (*mine.certificates[:3], secrets.token_bytes(32))
    results = agree(party, [mine, mine, mine, replace(mine, **{what: other})])
    assert all(isinstance(one, Exception) for one in results)
    assert any(isinstance(one, KeyAgreementError) for one in results)


def test_an_offer_signed_by_another_identity_is_refused(party: Party) -> None:
    keys = [SigningKey.load(party.directory(index).identity_key) for index in range(4)]
    keys[2] = SigningKey.generate()
    results = agree(party, [binding(party)] * 4, signers=keys)
    assert "not signed by its identity" in " ".join(map(str, results))


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("place", [0, 40, -1])
def test_any_changed_message_ends_the_agreement(party: Party, index: int, place: int) -> None:
    def flip(sender: int, receiver: int, number: int, payload: bytes) -> bytes:
        if (sender, receiver, number) != (1, 2, index):
            return payload
        changed = bytearray(payload)
        changed[min(place, len(payload) - 1)] ^= 1
        return bytes(changed)

    results = agree(party, [binding(party)] * 4, tamper=flip)
    assert isinstance(results[2], KeyAgreementError)


@pytest.mark.parametrize("key", [0, 1, 2], ids=["of everybody", "of three", "of three others"])
def test_a_node_that_gives_different_parts_is_caught(
    party: Party, monkeypatch: pytest.MonkeyPatch, key: int
) -> None:
    """Node 3 gives each node other bytes towards one key; honest nodes then hold different ones and stop."""
    honest = _PairSecrets.encrypt

    def encrypt(self: _PairSecrets, plaintext: bytes, sender: int) -> bytes:
        place = slice(key * GIVEN_BYTES, (key + 1) * GIVEN_BYTES)
        parts = bytearray(plaintext)
        if sender == 3:
            parts[place] = secrets.token_bytes(GIVEN_BYTES)
        return honest(self, bytes(parts), sender)

    monkeypatch.setattr(_PairSecrets, "encrypt", encrypt)
    results = agree(party, [binding(party)] * 4)
    assert any("holds other keys" in str(one) for one in results[:3])
    assert all(isinstance(one, ProtocolAbort) for one in results[:3])


def test_a_dropped_message_ends_the_agreement(party: Party) -> None:
    results = agree(
        party, [binding(party)] * 4, tamper=lambda s, r, n, p: None if (s, r, n) == (3, 0, 1) else p
    )
    assert isinstance(results[0], ProtocolAbort)


def test_agreement_over_tls(party: Party, mesh: Callable[..., Mesh]) -> None:
    ends = mesh().transports
    keys = [SigningKey.load(party.directory(index).identity_key) for index in range(4)]
    found = in_parallel([lambda i=i: agree_keys(i, binding(party), ends[i], keys[i].sign) for i in range(4)])
    check_layout(found)  # type: ignore[arg-type]
