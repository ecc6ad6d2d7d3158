"""DSSE: the specification's own vector, and every way a signature can be wrong."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.envelope import (
    Envelope,
    add_signature,
    open_envelope,
    pre_authentication_encoding,
    sign_envelope,
)
from governance.errors import DocumentError, SignatureError
from governance.keys import SigningKey

KEY, OTHER = SigningKey.generate(), SigningKey.generate()


def test_pae_of_the_specification() -> None:
    assert (
        pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_pae_counts_bytes_not_characters() -> None:
    assert pre_authentication_encoding("é", "ü".encode()) == b"DSSEv1 2 \xc3\xa9 2 \xc3\xbc"


@given(kind=st.text(min_size=1, max_size=30), body=st.binary(max_size=200))
def test_round_trip_over_the_wire(kind: str, body: bytes) -> None:
    envelope = sign_envelope(kind, body, KEY, OTHER)
    received = Envelope.from_canonical(envelope.canonical())
    assert received == envelope
    assert (
        open_envelope(received, kind, by=KEY.public) == open_envelope(received, kind, by=OTHER.public) == body
    )


def changed(envelope: Envelope, **fields: object) -> Envelope:
    return Envelope.from_value({**envelope.model_dump(mode="json"), **fields})


@given(body=st.binary(min_size=1, max_size=50), data=st.data())
def test_any_changed_byte_is_refused(body: bytes, data: st.DataObject) -> None:
    envelope = sign_envelope("kind", body, KEY)
    position, bit = data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(0, 7))
    other = bytearray(body)
    other[position] ^= 1 << bit
    with pytest.raises(SignatureError):
        open_envelope(changed(envelope, payload=base64.b64encode(other).decode()), "kind", by=KEY.public)


def test_another_type_another_key_another_keyid() -> None:
    envelope = sign_envelope("kind", b"body", KEY)
    with pytest.raises(SignatureError, match="expected a signed other"):
        open_envelope(envelope, "other", by=KEY.public)
    with pytest.raises(SignatureError, match="does not verify"):
        open_envelope(changed(envelope, payloadType="other"), "other", by=KEY.public)
    with pytest.raises(SignatureError, match="no signature by key"):
        open_envelope(envelope, "kind", by=OTHER.public)
    stolen = {"keyid": add_signature(envelope, OTHER).key_ids[1], "sig": envelope.signatures[0].sig}
    with pytest.raises(SignatureError, match="does not verify"):
        open_envelope(changed(envelope, signatures=[stolen]), "kind", by=OTHER.public)


@pytest.mark.parametrize(
    "fields",
    [
        {"signatures": []},
        {"payload": "a b"},
        {"payload": "YQ"},
        {"payload": "YR=="},
        {"extra": 1},
        {"payloadType": 3},
        {"signatures": [{"keyid": "a" * 65, "sig": "YQ=="}]},
    ],
)
def test_malformed_envelopes_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(DocumentError, match=next(iter(fields))):
        changed(sign_envelope("kind", b"a", KEY), **fields)
