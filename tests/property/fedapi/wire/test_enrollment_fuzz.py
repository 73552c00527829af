"""Tokens and requests to join that are almost right, and requests of whoever has keys and means ill: read, or refused in words."""

import base64
from datetime import UTC, datetime

from fedapi.wire.enrollment import REQUEST, TOKEN, JoinRequest, JoinToken, MalformedEnrollmentError
from fedapi.wire.signing import SigningKey
from fedoperator.key_material import Keys
from tests.property.mutations import check

KEY = SigningKey.of_seed(b"s" * 32)
GIVEN = JoinToken("a/b", datetime(2027, 1, 1, tzinfo=UTC), Keys.generated(datetime(2026, 1, 1, tzinfo=UTC)).ca_cert, SigningKey.of_seed(b"t" * 32))  # fmt: skip
ASKED = GIVEN.request(KEY)


def inner(text: str) -> bytes:
    part = text.split(".")[1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(body: bytes) -> str:
    signatures = (coded(base64.b64decode(each.signature(body))) for each in (KEY, GIVEN.key))
    return ".".join((REQUEST, coded(body), *signatures))


def test_lines():
    check(
        lambda data: JoinToken.of_text(data.decode(errors="surrogateescape")),
        [GIVEN.text().encode()],
        MalformedEnrollmentError,
    )
    check(
        lambda data: JoinRequest.of_text(data.decode(errors="surrogateescape")),
        [ASKED.encode()],
        MalformedEnrollmentError,
    )


def test_what_is_in_a_token():
    check(
        lambda data: JoinToken.of_text(f"{TOKEN}.{coded(data)}"),
        [inner(GIVEN.text())],
        MalformedEnrollmentError,
        examples=300,
    )


def test_what_is_in_a_request_whose_signatures_hold():
    check(lambda data: JoinRequest.of_text(signed(data)), [inner(ASKED)], MalformedEnrollmentError, examples=300)
