"""What a relying party asks a verifier of evidence, and what it makes of the answer. Pure; who calls brings the clock.

The verifier speaks the REST API of the Attestation Service of Confidential Containers' Trustee, and answers with an EAR
(draft-ietf-rats-ear): a JWT that it signed. Nothing of an answer counts before its signature is good. Used by the agent of a
site, which trusts no verdict but that of its own verifier, and by the aggregator. It loads the `cryptography` package.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from fedapi.wire import compactjws
from fedapi.wire.attestation import Attestation, Measurement, Statement, Tee, Verifier
from fedapi.wire.compactjws import UnsignedError

NAMES: Mapping[Tee, str] = {"SEV-SNP": "snp", "TDX": "tdx", "NitroEnclave": "nitro"}  # as verifiers call them
AFFIRMING = "affirming"
_EVIDENCE = "ear.veraison.annotated-evidence"
_SKEW_S = 60.0  # between the verifier's clock and ours
_SHOWN = 128  # characters of what a verifier said, in a message


class NotAttestedError(ValueError):
    """The evidence is not what was asked for; the message names field and value, and the way out."""


def question(attestation: Attestation, statement: Statement, verifier: Verifier) -> bytes:
    """The body of a request to the verifier: the evidence, and what its report data have to be."""
    one = {
        "tee": NAMES[attestation.tee],
        "evidence": _base64(attestation.evidence),
        "runtime_data": {"raw": _base64(statement.report_data())},
    }
    return json.dumps({"verification_requests": [one], "policy_ids": list(verifier.policies)}).encode()


def appraised(token: bytes, statement: Statement, verifier: Verifier, now: float) -> Mapping[str, Any]:
    """The claims of evidence for that statement, as the verifier affirms them; NotAttestedError otherwise."""
    claims = _signed(token, verifier)
    _check_time(claims, now)
    appraisals = claims.get("submods")
    if (
        not isinstance(appraisals, dict)
        or not appraisals
        or not all(isinstance(each, dict) for each in appraisals.values())
    ):
        raise NotAttestedError("the verifier's answer is no EAR: it has no submods")
    for name, appraisal in appraisals.items():
        if (status := appraisal.get("ear.status")) != AFFIRMING:
            text = f"the verifier does not affirm {_short(name)}: its ear.status is {_short(status)}, not {AFFIRMING!r}"
            raise NotAttestedError(f"{text}: look at the verifier's policy and reference values")
    if len(appraisals) != 1:
        raise NotAttestedError(f"the verifier appraises {len(appraisals)} pieces of evidence, one was asked for")
    evidence = next(iter(appraisals.values())).get(_EVIDENCE)
    if not isinstance(evidence, dict):
        raise NotAttestedError(f"the verifier's answer has no {_EVIDENCE}: choose a policy that keeps it")
    _check_bound(evidence, statement)
    return evidence


def check_tee(tee: Tee, claims: Mapping[str, Any], allowed: Sequence[Tee]) -> None:
    """NotAttestedError unless the evidence is of one of these kinds, as the verifier saw it and not only as the hub says."""
    if tee not in allowed:
        raise NotAttestedError(f"the aggregator's tee is {tee}, this site takes {', '.join(allowed)}")
    if not isinstance(claims.get(NAMES[tee]), dict):
        raise NotAttestedError(f"the verifier saw no evidence of {tee}: it has no claims below {NAMES[tee]!r}")


def check_measured(claims: Mapping[str, Any], measurements: Sequence[Measurement]) -> None:
    """NotAttestedError unless each claim has one of its values."""
    for each in measurements:
        found = _claim(claims, each.claim)
        if found is None:
            raise NotAttestedError(f"the verifier says nothing of {each.claim}: compare measurements with its claims")
        if found not in each.values:
            text = f"{each.claim} is {_short(found)}, not {' or '.join(map(_short, each.values))}"
            raise NotAttestedError(f"{text}: another program runs there; name its value if you trust that one")


def _signed(token: bytes, verifier: Verifier) -> Mapping[str, Any]:
    """What the verifier signed."""
    try:
        return compactjws.content(token, verifier.public_key)
    except UnsignedError as error:
        text = f"the answer is not signed by the verifier's publicKey ({error})"
        raise NotAttestedError(f"{text}: compare url and publicKey") from error


def _check_time(claims: Mapping[str, Any], now: float) -> None:
    ends, begins = claims.get("exp"), claims.get("nbf", claims.get("iat", now))
    if not isinstance(ends, int | float) or not isinstance(begins, int | float):
        raise NotAttestedError("the verifier's answer does not say when it ends (exp)")
    if not (begins <= now + _SKEW_S and now - _SKEW_S < ends):  # theirs may be too large for a float
        raise NotAttestedError("the verifier's answer is over, or not valid yet: compare the clocks of both")


def _check_bound(evidence: Mapping[str, Any], statement: Statement) -> None:
    """The signed report data are those of the statement: its nonce, so the evidence is fresh; its keys, so it is not another's."""
    said, expected = evidence.get("report_data"), statement.report_data().hex()
    if not isinstance(said, str) or said.lower() != expected:
        text = "the evidence is not for this question: it is older than the nonce, of another job, or for another key"
        raise NotAttestedError(f"{text}: somebody between here and the aggregator answers for it, or it has restarted")


def _claim(claims: Mapping[str, Any], path: str) -> str | None:
    """The claim at a dotted path, as text; None: there is none, or it is no single value."""
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found) if isinstance(found, str | int) else None


def _short(text: object) -> str:
    return repr(text)[:_SHOWN]


def _base64(data: bytes) -> str:
    """Without padding and safe in URLs, as verifiers take it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
