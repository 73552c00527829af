"""What an appraisal is worth: signed by the site's verifier, for this question, affirmed, and measured as the site said."""

import hashlib
import hmac
import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from fedapi.wire import appraisal, compactjws
from fedapi.wire.appraisal import NotAttestedError
from fedapi.wire.attestation import Attestation, Measurement, Statement, Verifier
from tests.attestation import KEY, MEASUREMENT, OTHER_KEY, PUBLIC_KEY, ear, report

VERIFIER = Verifier(url="https://as.example.org/attestation", public_key=PUBLIC_KEY, policies=("strict",))
KEYS = {"X25519": "aa" * 32}
NOW = 1_800_000_000.0


def statement(**values) -> Statement:
    return Statement(**{"job_uid": "uid", "nonce": "01" * 32, "tls_key": "bb" * 32, "update_keys": KEYS} | values)


def token(said: Statement | None = None, **values) -> bytes:
    return ear(report((said or statement()).report_data().decode()), now=NOW, **values).encode()


def test_what_is_asked_of_a_verifier():
    body = json.loads(
        appraisal.question(Attestation(tee="TDX", evidence=b"\xff{}", update_keys=KEYS), statement(), VERIFIER)
    )
    assert body["policy_ids"] == ["strict"]
    (one,) = body["verification_requests"]
    assert one["tee"] == "tdx"
    assert one["evidence"] == "_3t9"
    assert set(one["runtime_data"]) == {"raw"}


def test_the_report_data_fit_into_a_report_and_hold_every_field():
    plain = statement().report_data()
    assert len(plain) == 64, "what a report of SEV-SNP or TDX holds"
    assert plain.isalnum()
    others = (
        {"job_uid": "other"}, {"nonce": "02" * 32}, {"tls_key": "cc" * 32}, {"update_keys": {"X25519": "dd" * 32}},
        {"update_keys": {"MLKEM768X25519": "aa" * 32}},
    )  # fmt: skip
    assert len({plain, *(statement(**other).report_data() for other in others)}) == 1 + len(others)


def test_an_affirmed_answer_gives_its_claims():
    claims = appraisal.appraised(token(), statement(), VERIFIER, NOW)
    appraisal.check_tee("SEV-SNP", claims, ("TDX", "SEV-SNP"))
    appraisal.check_measured(
        claims,
        (
            Measurement(claim="snp.measurement", values=("00", MEASUREMENT)),
            Measurement(claim="snp.debug", values=("false",)),
        ),
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (token(statement(nonce="02" * 32)), "older than the nonce"),
        (token(statement(tls_key="cc" * 32)), "for another key"),
        (token(statement(update_keys={"X25519": "cc" * 32})), "for another key"),
        (token(statement(job_uid="other")), "of another job"),
        (token(key=OTHER_KEY), "not signed by the verifier's publicKey"),
        (token(status="warning"), "ear.status is 'warning'"),
        (token(status="contraindicated"), "does not affirm"),
        (token(exp=NOW - 120), "over, or not valid yet"),
        (token(nbf=NOW + 120), "over, or not valid yet"),
        (token(exp="tomorrow"), "does not say when it ends"),
        (token(submods={}), "no EAR"),
        (token(submods={"cpu0": []}), "no EAR"),
        (token(submods={"a": {"ear.status": "affirming"}, "b": {"ear.status": "affirming"}}), "2 pieces of evidence"),
        (token(submods={"cpu0": {"ear.status": "affirming"}}), "has no ear.veraison.annotated-evidence"),
        (b"", "not signed"),
        (b"HTTP error", "not signed"),
        (b"\xff\x00.e30.", "not signed"),
        (jwt.encode({"exp": NOW + 60}, "", algorithm="none").encode(), "not signed"),
        (jwt.encode({"exp": NOW + 60}, "k" * 32, algorithm="HS256").encode(), "not signed"),
    ],
)
def test_an_answer_that_counts_for_nothing(answer, words):
    with pytest.raises(NotAttestedError, match=words):
        appraisal.appraised(answer, statement(), VERIFIER, NOW)


def test_a_public_key_is_never_the_secret_of_a_symmetric_signature():
    """Algorithm confusion: HS256 keyed by the bytes of the PEM, which everybody knows."""
    head, body = (
        jwt.utils.base64url_encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, {"exp": NOW})
    )

    mac = hmac.new(PUBLIC_KEY.encode(), head + b"." + body, hashlib.sha256).digest()
    forged = b".".join((head, body, jwt.utils.base64url_encode(mac)))
    with pytest.raises(NotAttestedError, match="not signed"):
        appraisal.appraised(forged, statement(), VERIFIER, NOW)


def test_another_kind_of_environment():
    claims = appraisal.appraised(token(), statement(), VERIFIER, NOW)
    with pytest.raises(NotAttestedError, match="tee is SEV-SNP, this site takes TDX"):
        appraisal.check_tee("SEV-SNP", claims, ("TDX",))
    with pytest.raises(NotAttestedError, match="saw no evidence of TDX"):
        appraisal.check_tee("TDX", claims, ("TDX",))


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        ("snp.measurement", "another program runs there"),
        ("snp.nothing", "says nothing of snp.nothing"),
        ("snp", "says nothing of snp"),
        ("tdx.quote.body.mr_td", "says nothing of"),
    ],
)
def test_another_measurement(claim, words):
    claims = appraisal.appraised(token(), statement(), VERIFIER, NOW)
    with pytest.raises(NotAttestedError, match=words):
        appraisal.check_measured(claims, (Measurement(claim=claim, values=("11",)),))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_whatever_bytes_a_verifier_answers_it_is_refused_by_type(answer):
    with pytest.raises(NotAttestedError):
        appraisal.appraised(answer, statement(), VERIFIER, NOW)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["submods", "exp", "nbf", "iat"]), JSON))
def test_whatever_a_verifier_signs_it_is_refused_by_type(claims):
    with pytest.raises(NotAttestedError):
        appraisal.appraised(
            token(**claims) if "submods" in claims else token(submods=None, **claims), statement(), VERIFIER, NOW
        )


def test_clocks_may_differ_by_a_minute():
    appraisal.appraised(token(nbf=int(NOW) + 30), statement(), VERIFIER, NOW)
    appraisal.appraised(token(exp=int(NOW) - 30), statement(), VERIFIER, NOW)


OKP, RSA = ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)
P384 = ec.generate_private_key(ec.SECP384R1())


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (KEY, "ES256"),
        (P384, "ES384"),
        (OKP, "EdDSA"),
        *[(RSA, a) for a in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")],
    ],
)
def test_signatures_of_another_library_are_good_and_of_another_key_are_not(key, algorithm):
    """Oracle: PyJWT."""
    said = {"exp": 5, "nested": {"a": [1, None]}}
    made = jwt.encode(said, key, algorithm=algorithm).encode()
    assert compactjws.content(made, pem(key)) == said
    head, body, mac = made.split(b".")
    changed = jwt.utils.base64url_encode(json.dumps(said | {"exp": 6}).encode())
    flipped = jwt.utils.base64url_decode(mac)
    wrong = jwt.utils.base64url_encode(flipped[:-1] + bytes([flipped[-1] ^ 1]))
    for forged in (b".".join((head, changed, mac)), b".".join((head, body, wrong)), b".".join((head, body, b""))):
        with pytest.raises(compactjws.UnsignedError):
            compactjws.content(forged, pem(key))
    for other in (KEY, OTHER_KEY, P384, OKP, RSA):
        if other is not key:
            with pytest.raises(compactjws.UnsignedError):
                compactjws.content(made, pem(other))


def test_critical_extensions_are_refused():
    made = jwt.encode({"exp": 5}, KEY, algorithm="ES256", headers={"crit": ["b64"]}).encode()
    with pytest.raises(compactjws.UnsignedError, match="critical"):
        compactjws.content(made, PUBLIC_KEY)


def pem(key) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()
