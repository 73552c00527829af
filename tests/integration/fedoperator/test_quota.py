"""Pods that a ResourceQuota refuses: named in the quota's words, and the job goes on by itself when there is room."""

import pytest

from fedapi import names
from tests.integration.fedoperator.kit import complete, consortium, operator, until

pytestmark = pytest.mark.apiserver


@pytest.fixture(scope="module")
def running(api, tmp_path_factory):
    with operator(api, tmp_path_factory.mktemp("operator"), RESYNC_S=2) as process:
        yield process.wait_ready()


def test_a_quota_is_named_and_when_there_is_room_the_job_goes_on(api, namespace, running):
    quotas = f"/api/v1/namespaces/{namespace}/resourcequotas"
    hard = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": {"pods": "0"}}}
    api.connection.request("POST", quotas, hard)
    until(lambda: "hard" in api.connection.request("GET", f"{quotas}/small")["status"])

    def told(type_):
        found = api.get("FederatedJob", namespace, "heart").get("status", {}).get("conditions", ())
        return next(((c["reason"], c["message"]) for c in found if c["type"] == type_), ("", ""))

    consortium(api, namespace, "site-a", pendingDeadline="60s")
    complete(api, namespace, 1)
    for type_ in ("AggregatorReady", "Progressing"):
        until(lambda type_=type_: told(type_)[0] == "PodsRefused" and "exceeded quota: small" in told(type_)[1])
    # room for one pod: the aggregator's
    api.connection.request("DELETE", f"{quotas}/small")
    until(lambda: api.listed("Pod", namespace, f"{names.LABEL_ROLE}={names.ROLE_AGGREGATOR}"))
    until(lambda: told("AggregatorReady")[0] == "Starting")
    until(lambda: api.pods_ready(namespace, names.ROLE_AGGREGATOR))
    until(lambda: api.listed("Pod", namespace, f"{names.LABEL_ROLE}={names.ROLE_INIT}"))
    until(lambda: told("Progressing")[0] != "PodsRefused")


def test_a_jobs_own_refusal_is_read_from_its_events(api, namespace, running):
    consortium(api, namespace, "site-a", pendingDeadline="60s")
    complete(api, namespace, 1)
    quotas = f"/api/v1/namespaces/{namespace}/resourcequotas"
    until(lambda: api.pods_ready(namespace, names.ROLE_AGGREGATOR))
    until(lambda: len(api.listed("Pod", namespace)) == 2)  # the hub's two, and no room for more
    hard = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "two"}, "spec": {"hard": {"pods": "2"}}}
    api.connection.request("POST", quotas, hard)
    until(lambda: "hard" in api.connection.request("GET", f"{quotas}/two")["status"])
    init = api.listed("Pod", namespace, f"{names.LABEL_ROLE}={names.ROLE_INIT}")[0]["metadata"]["name"]
    api.connection.request(
        "PATCH", f"{quotas}/two", {"spec": {"hard": {"pods": "1"}}}, content_type="application/merge-patch+json"
    )
    until(lambda: api.connection.request("GET", f"{quotas}/two")["status"]["hard"] == {"pods": "1"})
    api.connection.request(
        "DELETE", f"/api/v1/namespaces/{namespace}/pods/{init}", {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
    )  # fmt: skip

    def told():
        found = api.get("FederatedJob", namespace, "heart").get("status", {}).get("conditions", ())
        return next((c["message"] for c in found if c["type"] == "Progressing" and c["reason"] == "PodsRefused"), "")

    until(lambda: "exceeded quota: two" in told())
    api.connection.request("DELETE", f"{quotas}/two")
    until(lambda: not told())
