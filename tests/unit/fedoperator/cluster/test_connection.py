"""Answers of the API server, as errors by what to do next."""

import json

import pytest

from fedoperator.cluster.connection import _answer
from fedoperator.errors import RefusedError, RetryLaterError


def test_a_policy_that_has_not_seen_a_new_job_is_no_refusal():
    unseen = "policy 'x' denied request: failed to configure binding: no params found for policy binding with `Deny` …"
    for message, error in ((unseen, RetryLaterError), ("spec.replicas: Invalid value", RefusedError)):
        body = json.dumps({"kind": "Status", "message": message, "reason": "Invalid"}).encode()
        with pytest.raises(error):
            _answer("PATCH /x", 422, body, {})
