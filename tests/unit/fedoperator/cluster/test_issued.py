"""What the answer to the write of a Certificate means: it is issued, it is being issued, or nobody issues it, and why."""

from datetime import UTC, datetime, timedelta

import pytest

from fedapi import names
from fedoperator.certificates import LIFETIME
from fedoperator.cluster.issued import PATIENCE, IssuedCertificates
from fedoperator.desired.certificate import Issuer
from fedoperator.desired.secret_requests import SecretRequest
from fedoperator.errors import AwaitedError, RefusedError

NOW = datetime(2027, 1, 1, tzinfo=UTC)
LONG_AGO, LATELY = NOW - timedelta(days=1), NOW - PATIENCE / 2
REQUEST = SecretRequest("job-site-1", "Site", {}, {}, client="a")


class Api:
    """Answers with the object as it is then. `asked`: when the operator's part of it last changed."""

    def __init__(self, asked, *conditions):
        self.asked, self.conditions = asked, conditions

    def request(self, _method, _path, body, **_):
        managers = [
            ("cert-manager-certificates-readiness", "Update", LATELY),
            (names.OPERATOR_MANAGER, "Apply", self.asked),
        ]
        fields = [{"manager": who, "operation": how, "time": when.isoformat()} for who, how, when in managers]
        metadata = {"generation": 2, "creationTimestamp": LONG_AGO.isoformat(), "managedFields": fields}
        return body | {"metadata": body["metadata"] | metadata, "status": {"conditions": list(self.conditions)}}


def condition(kind, status, message="", generation=2):
    return {"type": kind, "status": status, "message": message, "observedGeneration": generation}


def require(asked, *conditions):
    api = Api(asked, *conditions)
    issued = IssuedCertificates(api, Issuer("company", "Issuer"), LIFETIME, lambda: NOW, lambda *_: None)
    issued.require(REQUEST, "ns", "uid")


def test_it_is_there_once_what_is_asked_for_now_is_issued():
    require(LONG_AGO, condition("Ready", "True"))
    with pytest.raises(AwaitedError):
        require(LATELY, condition("Ready", "True", generation=1))


def test_what_is_changed_in_an_old_one_is_waited_for_as_in_a_new_one():
    being_issued = condition("Ready", "False", "Fields on existing CertificateRequest resource not up to date")
    with pytest.raises(AwaitedError):
        require(LATELY, being_issued)
    with pytest.raises(RefusedError, match="not up to date"):
        require(LONG_AGO, being_issued)


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ((), "cert-manager says nothing of it: does it run?"),
        (
            (condition("Ready", "False", "no key"), condition("Issuing", "True", "no key")),
            "no key. `kubectl -n ns desc",
        ),
        (
            (condition("Ready", "False", "no key"), condition("Issuing", "False", "denied")),
            "Certificate job-site-1: denied.",
        ),
    ],
)
def test_the_newest_reason_is_told(conditions, words):
    with pytest.raises(RefusedError) as told:
        require(LONG_AGO, *conditions)
    assert words in str(told.value)
    assert str(told.value).startswith("Issuer company has not issued Certificate job-site-1")
