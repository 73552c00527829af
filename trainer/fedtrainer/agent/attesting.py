"""Whether the aggregator is what the site demands: asked before the site works for it. Called by work.py.

The site draws the nonce, makes the statement of what it sees itself (the key of the server it speaks to, the keys that it is
told), has its own verifier appraise the evidence, and compares with its own measurements. What it then trusts is a key: an
order whose update is to be encrypted to another one is asked about anew. Nothing is remembered beyond the process.
"""

import hashlib
import http.client
import logging
import secrets
import ssl
import time
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import quote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from fedapi.https_server import HttpsServer
from fedapi.wire import appraisal
from fedapi.wire.attestation import Attestation, AttestationRequest, Demand, Statement, UpdateKeys
from fedapi.wire.orders import EvaluateOrder, TrainOrder
from fedtrainer.agent import answers
from fedtrainer.agent.patience import Patience, RetryError, persist
from fedtrainer.agent.trust import Trust
from fedtrainer.errors import AggregatorLostError, LinkExpiredError, NotAttestedError
from fedtrainer.settings import TrainerSettings

log = logging.getLogger(__name__)
T = TypeVar("T")
_CONNECT_S, _ANSWER_S = 5.0, 60.0
_LONGEST_ANSWER_BYTES = 4 << 20
_DEMAND = "spec.requires.confidential of this site's FLClient"


class Attested:
    """What one process found out about its aggregator."""

    def __init__(self, settings: TrainerSettings, demand: Demand) -> None:
        self._settings, self._demand = settings, demand
        self._trust = Trust(settings)
        self._patience = Patience(settings.patience_s)
        self._keys: set[tuple[str, str]] = set()  # kem and SHA-256 of keys that were attested

    def check(self, order: TrainOrder | EvaluateOrder) -> None:
        """NotAttestedError unless whoever gave the order has proved what it is, and the update is for it alone."""
        if isinstance(order, EvaluateOrder):
            if not self._keys:
                self._keys |= self._attest().items()
            return
        asked = order.encryption
        if asked is None:
            text = "the order asks for an update that is not encrypted, which whoever reads the store can read"
            raise NotAttestedError(f"{text}: set storage.clientEncryption.enabled: true in the job")
        key = asked.kem, hashlib.sha256(asked.public_key).hexdigest()
        if key not in self._keys:
            self._keys |= self._attest().items()
        if key not in self._keys:
            text = f"the order asks for an update to {asked.kem} key {key[1]}, which the evidence does not vouch for"
            raise NotAttestedError(
                f"{text}: somebody who is not the attested aggregator gives orders, or it has restarted"
            )

    def _attest(self) -> UpdateKeys:
        """The keys that evidence vouches for, once it is what the site demands."""
        nonce = secrets.token_hex(32)
        attestation, tls_key = self._persist(
            f"asking the aggregator at {self._settings.aggregator_url} for evidence", lambda: self._evidence(nonce)
        )
        statement = Statement(
            job_uid=self._settings.job_uid, nonce=nonce, tls_key=tls_key, update_keys=attestation.update_keys
        )
        verifier = self._demand.verifier
        question = appraisal.question(attestation, statement, verifier)
        answer = self._persist(f"asking the verifier at {verifier.url}", lambda: self._verdict(question))
        try:
            claims = appraisal.appraised(answer, statement, verifier, time.time())
            appraisal.check_tee(attestation.tee, claims, self._demand.tees)
            appraisal.check_measured(claims, self._demand.measurements)
        except appraisal.NotAttestedError as error:
            raise NotAttestedError(f"{_DEMAND}: {error}") from error
        log.info("the aggregator is attested: %s, as %s affirms", attestation.tee, verifier.url)
        return attestation.update_keys

    def _persist(self, what: str, attempt: Callable[[], T]) -> T:
        """Who cannot be asked has proved nothing."""
        try:
            return persist(what, attempt, self._patience)
        except AggregatorLostError as error:
            raise NotAttestedError(
                f"{_DEMAND}: {error}: start what does not answer; until then the site takes no part"
            ) from error

    def _evidence(self, nonce: str) -> tuple[Attestation, str]:
        """With the key of the server that gave it, over a connection of its own."""
        server = HttpsServer.of(self._settings.aggregator_url)
        path = (
            f"{urlsplit(self._settings.aggregator_url).path.rstrip('/')}/v1/sites/{quote(self._settings.client)}/attest"
        )
        headers = {"Authorization": f"Bearer {self._settings.token().get_secret_value()}"}
        body = AttestationRequest(nonce=nonce).model_dump_json().encode()
        status, content, certificate = _post(server, path, body, headers, self._trust.of(server))
        refused = answers.error(status, content)
        if isinstance(refused, LinkExpiredError):
            text = f"the aggregator gives no evidence ({refused})"
            raise NotAttestedError(
                f"{_DEMAND}: {text}: set aggregator.confidential in the job, with a hub of this version"
            )
        if refused is not None:
            raise refused
        try:
            return Attestation.told(content), _key(certificate)
        except (ValidationError, ValueError) as error:
            raise NotAttestedError(
                f"{_DEMAND}: the aggregator's answer is no evidence: {type(error).__name__}"
            ) from error

    def _verdict(self, question: bytes) -> bytes:
        verifier = self._demand.verifier
        try:
            server, context = HttpsServer.of(verifier.url), ssl.create_default_context(cadata=verifier.ca)
        except (ValueError, OSError) as error:
            raise NotAttestedError(f"{_DEMAND}.verifier: {type(error).__name__}: {error}") from error
        status, content, _ = _post(server, urlsplit(verifier.url).path or "/", question, {}, context)
        said = f"the verifier at {verifier.url} answers HTTP {status} {content[:200].decode(errors='replace')}"
        if status >= http.client.INTERNAL_SERVER_ERROR or status in (408, 429):
            raise RetryError(said)
        if status != http.client.OK:
            raise NotAttestedError(f"{_DEMAND}: {said}: compare verifier.url with its documentation")
        return content


def _post(
    server: HttpsServer, path: str, body: bytes, headers: Mapping[str, str], context: ssl.SSLContext
) -> tuple[int, bytes, bytes]:
    """Status, body and the server's certificate; RetryError when there is no answer."""
    connection = http.client.HTTPSConnection(*server, context=context, timeout=_CONNECT_S)
    try:
        connection.connect()
        connection.sock.settimeout(_ANSWER_S)
        certificate = connection.sock.getpeercert(binary_form=True) or b""
        connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read(_LONGEST_ANSWER_BYTES), certificate
    except (OSError, http.client.HTTPException) as error:
        raise RetryError(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()


def _key(certificate: bytes) -> str:
    """SHA-256 of a certificate's public key; ValueError when it is none."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
