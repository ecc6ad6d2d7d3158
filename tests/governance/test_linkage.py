"""Tokens of persons: alike wherever identifiers agree, unrelated otherwise; and the key that only hospitals open."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.envelope import Envelope, sign_document
from governance.errors import DocumentError, FederationMismatch, ForeignSignature, SealError
from governance.federation import Federation
from governance.keys import SealingKey, SigningKey, seal
from governance.linkage import Identifier, Linkage, LinkageSecret, normalised
from governance.linkage_key import SealedLinkage, open_linkage, seal_linkage
from governance.study import StudyProtocol
from tests.governance.conftest import NOW

FIRST, SECOND = "1" * 64, "2" * 64


@pytest.mark.parametrize(
    ("kind", "written", "meant"),
    [
        ("family_name", " MÜLLER-Lüdenscheidt ", "mullerludenscheidt"),
        ("family_name", "Mu\u0308ller Lu\u0308denscheidt", "mullerludenscheidt"),
        ("family_name", "O'Brien", "obrien"),
        ("family_name", "GROSS", "gross"),
        ("family_name", "Groß", "gross"),
        ("national_id", "756.1234.5678-97", "7561234567897"),
        ("national_id", "０１２ ab", "012ab"),
        ("national_id", "٠١٢", "012"),
        ("national_id", "7561234567897.0", ""),
        ("national_id", "000-000", ""),
        ("national_id", "n/a", ""),
        ("insurance_id", "NULL", ""),
        ("family_name", "Unknown", ""),
        ("family_name", "Na", "na"),
        ("family_name", "Işık", "isik"),
        ("family_name", "IŞIK", "isik"),
        ("family_name", "Sørensen", "sorensen"),
        ("family_name", "Łukasz", "lukasz"),
        ("given_name", "कि", "कि"),
        ("given_name", "Ελένη", "ελενη"),
        ("birth_date", "1970-01-31", "1970-01-31"),
        ("birth_date", "19700131", "1970-01-31"),
        ("birth_date", "1970-01-31T10:00:00", "1970-01-31"),
        ("birth_date", "1970-01-31T00:00:00Z", "1970-01-31"),
        ("birth_date", "1970-01-31T23:30:00Z", ""),
        ("birth_date", "1970-01-31 junk", ""),
        ("birth_date", "1970-W05-6", ""),
        ("birth_date", "1900-01-01", ""),
        ("birth_date", "31.01.1970", ""),
        ("birth_date", "1970-01", ""),
        ("birth_date", "1970-01-311", ""),
        ("sex", "Female", "female"),
        ("sex", "8507", "male"),
        ("sex", "unknown", ""),
    ],
)
def test_identifiers_are_written_alike(kind, written, meant):
    assert normalised(Identifier(kind), written) == meant


@given(st.text(), st.sampled_from(list(Identifier)))
def test_what_is_normalised_stays_as_it_is(text, kind):
    once = normalised(kind, text)
    assert normalised(kind, once) == once


def test_a_token_is_one_persons_in_one_study_under_one_key():
    secret = LinkageSecret.generate()
    study = secret.for_study(FIRST)
    ada, bea = {"family_name": "ada", "given_name": "b"}, {"family_name": "ad", "given_name": "ab"}
    assert study.token(ada) == LinkageSecret(secret.reveal()).for_study(FIRST).token(
        dict(reversed(ada.items()))
    )
    others = [
        study.token(bea),
        secret.for_study(SECOND).token(ada),
        LinkageSecret.generate().for_study(FIRST).token(ada),
    ]
    assert len({study.token(ada), *others}) == 4 and all(len(one) == 16 for one in others)
    for other in others:  # unrelated: about half of the bits differ
        differing = sum((a ^ b).bit_count() for a, b in zip(study.token(ada), other, strict=True))
        assert 30 < differing < 98


def test_known_answer_of_a_token():
    """Worked out with HMAC alone, by RFC 5869 without salt; tokens that were shared once must not change."""
    secret = LinkageSecret(bytes(range(32)))
    assert secret.id == "12b4cbf77cae3d4e14859199f0737149"
    assert (
        secret.for_study(FIRST).token({"national_id": "7561234567897"}).hex()
        == "00e0e7404adcdb6b3f3373cb72ccb695"
    )


def test_who_lacks_an_identifier_is_nobody_else():
    study = LinkageSecret.generate().for_study(FIRST)
    lacking = [{"national_id": ""}, {"national_id": ""}, {"national_id": "1"}, {"national_id": "1"}]
    tokens = study.tokens(lacking)
    assert len(set(tokens)) == 3 and tokens[2] == tokens[3]


def test_no_text_shows_the_secret():
    secret = LinkageSecret(b"a secret of thirty-two bytes ...")
    for shown in (
        repr(secret),
        str(secret),
        repr(secret.for_study(FIRST)),
        f"{vars(secret.for_study(FIRST)).keys()}",
    ):
        assert "thirty" not in shown and secret.reveal().hex() not in shown


def test_identifiers_that_cannot_tell_persons_apart_are_refused():
    with pytest.raises(ValueError, match="cannot tell persons apart"):
        Linkage(key="0" * 32, identifiers=("sex", "birth_date"))
    with pytest.raises(ValueError, match="named twice"):
        Linkage(key="0" * 32, identifiers=("national_id", "national_id"))
    Linkage(key="0" * 32, identifiers=("given_name", "family_name", "birth_date", "sex"))


def test_a_study_without_linkage_does_not_mention_it(study: StudyProtocol):
    assert b'"linkage"' not in study.canonical()
    asked = study.model_copy(update={"linkage": Linkage(key="0" * 32, identifiers=("national_id",))})
    assert StudyProtocol.from_canonical(asked.canonical()) == asked and asked.digest != study.digest


@pytest.fixture
def hospitals(federation: Federation) -> tuple[Federation, dict[str, SealingKey], SigningKey]:
    """The federation with a sealing key of each hospital, and the first one's steward."""
    steward = SigningKey.generate()
    keys = {site.id: SealingKey.generate() for site in federation.sites}
    sites = [site.model_copy(update={"sealing_key": keys[site.id].public}) for site in federation.sites]
    sites[0] = sites[0].model_copy(update={"steward_key": steward.public})
    return Federation.from_value(federation.model_dump(mode="json") | {"sites": sites}), keys, steward


def test_every_hospital_opens_the_linkage_key_and_nobody_else(hospitals):
    federation, keys, steward = hospitals
    first = federation.sites[0].id
    secret = LinkageSecret.generate()
    envelope = seal_linkage(federation, secret, first, steward, NOW)
    assert secret.reveal() not in envelope.body and secret.reveal().hex().encode() not in envelope.body
    for site, key in keys.items():
        assert open_linkage(federation, envelope, site, key).reveal() == secret.reveal()
    with pytest.raises(SealError):
        open_linkage(federation, envelope, first, SealingKey.generate())
    other = federation.sites[1].id
    with pytest.raises(SealError):  # sealed to another hospital
        open_linkage(federation, envelope, first, keys[other])
    said = SealedLinkage.from_canonical(envelope.body)
    for changed, refused in (
        ({"key": "f" * 32}, SealError),
        ({"federation": "f" * 64}, FederationMismatch),
        ({"sealed": {other: said.sealed[other]}}, SealError),
    ):
        with pytest.raises(refused):
            open_linkage(
                federation, sign_document(said.model_copy(update=changed), steward), first, keys[first]
            )
    claim = f"tessera linkage {federation.digest} {first} {first} {'f' * 32}".encode()
    swapped = base64.b64encode(seal(keys[first].public, secret.reveal(), claim)).decode()
    claimed = said.model_copy(update={"key": "f" * 32, "sealed": {first: swapped}})
    with pytest.raises(SealError, match=f"says linkage key {'f' * 32} and holds {secret.id}"):
        open_linkage(federation, sign_document(claimed, steward), first, keys[first])
    with pytest.raises(ForeignSignature):
        open_linkage(federation, sign_document(said, SigningKey.generate()), first, keys[first])
    with pytest.raises(DocumentError):
        open_linkage(
            federation, Envelope.model_construct(**{**dict(envelope), "payloadType": "x"}), first, keys[first]
        )


def test_a_hospital_without_a_sealing_key_is_named(federation: Federation):
    assert b'"sealing_key"' not in federation.sites[0].model_dump_json().encode()
    with pytest.raises(DocumentError, match=f"no sealing key of {federation.sites[0].id}"):
        seal_linkage(federation, LinkageSecret.generate(), federation.sites[0].id, SigningKey.generate(), NOW)
