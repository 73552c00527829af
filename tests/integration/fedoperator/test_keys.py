"""The operator's keys: put back while they are in use; when they are lost for good, jobs say so and go on with new ones."""

import pytest

from fedapi import names
from tests.integration.fedoperator.kit import SYSTEM, complete, consortium, operator, rest, until

pytestmark = pytest.mark.apiserver
KEYS = "fedloom-operator-keys"


def mounted(template):
    return {v["secret"]["secretName"] for v in template["spec"]["volumes"] if "secret" in v}


def secrets_in_use(api, namespace):
    deployments = api.listed("Deployment", namespace)
    jobs = api.listed("Job", namespace, f"{names.LABEL_ROLE}={names.ROLE_TRAINER}")
    return set().union(*(mounted(body["spec"]["template"]) for body in (*deployments, *jobs)))


def test_keys_that_are_deleted_while_they_are_in_use_come_back_as_they_were(api, namespace, tmp_path):
    with operator(api, tmp_path, RESYNC_S=1) as running:
        running.wait_ready()
        until(running.acting)  # ready does not mean that it has read its keys
        before = until(lambda: api.get("Secret", SYSTEM, KEYS))
        api.delete("Secret", SYSTEM, KEYS)
        after = until(lambda: api.get("Secret", SYSTEM, KEYS))
        assert after["data"] == before["data"]
        assert running.alive()


def test_a_job_goes_on_with_new_keys_and_says_why(api, namespace, tmp_path):
    with operator(api, tmp_path, RESYNC_S=300) as first:
        first.wait_ready()
        made = consortium(api, namespace, "site-a")
        complete(api, namespace, 1)
        old = secrets_in_use(api, namespace)
        first.end()
    api.outcome(made, round={"current": 2, "total": 3, "step": "Train", "selected": ["site-a"]},
                clients=[{"name": "site-a", "state": "Training"}])  # fmt: skip
    api.delete("Secret", SYSTEM, KEYS)
    with operator(api, tmp_path, RESYNC_S=2) as second:
        second.wait_ready()

        def renewed():
            now = secrets_in_use(api, namespace)
            return len(now) == 2 and not now & old and now

        new = until(renewed, 60)
        made_anew = {o["metadata"]["name"] for o in api.listed("Secret", namespace, f"{names.LABEL_JOB}=heart")}
        assert new <= made_anew

        def told():
            seen = api.connection.request("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")["items"]
            return [e["note"] for e in seen if e["reason"] == "KeysReplaced"]

        until(told)
        rest(api, namespace, second)


def test_keys_that_are_replaced_are_taken_up(api, namespace, tmp_path):
    with operator(api, tmp_path, RESYNC_S=1) as running:
        running.wait_ready()
        until(running.acting)
        stored = until(lambda: api.get("Secret", SYSTEM, KEYS))["data"]
        api.patch("Secret", SYSTEM, KEYS, {"data": stored | {"id": "b3RoZXI="}})
        assert running.process.wait(30) == 1, "Kubernetes starts it again, and then it reads them"
