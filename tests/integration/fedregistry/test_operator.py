"""Operator, registry and table together: real processes, a real API server, a real protocol of DynamoDB."""

import base64
import json
import time

import pytest

from fedapi import names
from fedapi.wire.tokens import heartbeat_token
from tests.integration.fedoperator.kit import SYSTEM, operator, until
from tests.integration.fedoperator.kit import site as flclient
from tests.integration.fedregistry.harness import HOSTS, running
from tests.ports import free_ports

pytestmark = pytest.mark.apiserver
CAPABILITY = {"cpu": "16", "memory": "64Gi", "accelerator": "nvidia.com/gpu x4"}
SECRET = "fedloom-registry"


def policy(namespace):
    entry = {
        "clientIds": [f"{namespace}/ward-*"],
        "organizations": ["Charité"],
        "labels": {"consortium": "heart"},
        "spec": {"provider": "OnPremises", "paused": True},
    }
    return json.dumps([entry])


def connected(api, namespace, name):
    body = api.get("FLClient", namespace, name, missing_ok=True)
    told = {c["type"]: (c["status"], c["reason"]) for c in body.get("status", {}).get("conditions", ())}
    return told.get("Connected")


def aged(moto, table, client_id, seconds):
    """The site was heard that long ago."""
    client = moto.client("dynamodb")
    try:
        client.update_item(
            TableName=table,
            Key={"ClientID": {"S": client_id}},
            UpdateExpression="SET LastSeen = :at",
            ExpressionAttributeValues={":at": {"N": f"{time.time() - seconds:.3f}"}},
        )
    finally:
        client.close()


def files(api):
    data = until(lambda: api.get("Secret", SYSTEM, SECRET, missing_ok=True).get("data"))
    return {name: base64.b64decode(value) for name, value in data.items()}


def test_sites_register_become_flclients_fall_silent_and_expire(api, namespace, moto, tmp_path):
    port, monitoring = free_ports(2)
    where = {"port": port, "monitoring_port": monitoring}
    credentials = moto.credentials(tmp_path / "table")
    settings = {
        "REGISTRY_URL": f"https://127.0.0.1:{port}", "REGISTRY_SECRET": SECRET, "REGISTRY_HOSTS": ",".join(HOSTS),
        "REGISTRY_CLIENTS": policy(namespace), "REGISTRY_READ_S": 0.5, "RESYNC_S": 1,
    }  # fmt: skip
    api.create(flclient(namespace, "ward-kept", organization="a person's"))
    with operator(api, tmp_path, **settings) as acting:
        acting.wait_ready()
        made = files(api)
        with running(tmp_path / "registry", moto.endpoint, credentials, files=made, **where) as registry:
            with registry.client() as http:

                def beat(name, **said):
                    answer = registry.heartbeat(http, f"{namespace}/{name}", capability=CAPABILITY, **said)
                    assert answer.status_code == 200

                beat("ward-1", organization="Charité")
                beat("ward-kept", organization="Charité")
                beat("ward-2", organization="somebody else")
                beat("office-1", organization="Charité")
            until(lambda: connected(api, namespace, "ward-1") == ("True", "Heartbeat"))
            new = api.get("FLClient", namespace, "ward-1")
            assert new["spec"]["paused"] is True
            assert new["spec"]["organization"] == "Charité"
            assert new["metadata"]["labels"] == {"consortium": "heart"}
            assert (new["status"]["active"], new["status"]["capability"]) == (True, CAPABILITY)
            until(lambda: connected(api, namespace, "ward-kept") == ("True", "Heartbeat"))
            assert api.get("FLClient", namespace, "ward-kept")["spec"]["organization"] == "a person's"
            there = {body["metadata"]["name"] for body in api.listed("FLClient", namespace)}
            assert there == {"ward-1", "ward-kept"}, "the policy is about no other"

            version = api.get("FLClient", namespace, "ward-1")["metadata"]["resourceVersion"]
            aged(moto, registry.table, f"{namespace}/ward-1", 70)
            with registry.client() as http:
                beat("ward-1", organization="Charité")
            before = registry.metric("fedloom_registry_read_timestamp_seconds")
            until(lambda: registry.metric("fedloom_registry_read_timestamp_seconds") > before + 3)
            assert api.get("FLClient", namespace, "ward-1")["metadata"]["resourceVersion"] == version, "no transition"

            aged(moto, registry.table, f"{namespace}/ward-1", 400)
            until(lambda: connected(api, namespace, "ward-1") == ("False", "HeartbeatLost"))
        assert acting.alive(), "the registry is gone"
        kept = api.get("FLClient", namespace, "ward-kept")["status"]
        assert kept["active"] is True
        with running(
            tmp_path / "registry", moto.endpoint, credentials, files=made, table=registry.table, **where
        ) as registry:
            aged(moto, registry.table, f"{namespace}/ward-1", 25 * 3600)
            until(lambda: connected(api, namespace, "ward-1") == ("False", "Expired"))
            until(lambda: table_item(moto, registry.table, f"{namespace}/ward-1") is None)
            assert connected(api, namespace, "ward-1") == ("False", "Expired")
            assert api.get("FLClient", namespace, "ward-1")["status"]["active"] is False
            with registry.client() as http:
                token = heartbeat_token(registry.key, f"{namespace}/ward-1")
                assert registry.heartbeat(http, f"{namespace}/ward-1", token, capability=CAPABILITY).status_code == 200
            until(lambda: connected(api, namespace, "ward-1") == ("True", "Heartbeat"))


def table_item(moto, table, client_id):
    client = moto.client("dynamodb")
    try:
        return client.get_item(TableName=table, Key={"ClientID": {"S": client_id}}).get("Item")
    finally:
        client.close()


def test_the_registrys_secret_comes_back_and_follows_the_keys(api, namespace, tmp_path):
    settings = {
        "REGISTRY_URL": "https://127.0.0.1:9", "REGISTRY_SECRET": "other-registry", "REGISTRY_HOSTS": "localhost",
        "RESYNC_S": 1,
    }  # fmt: skip

    def secret():
        return api.get("Secret", SYSTEM, "other-registry", missing_ok=True).get("data")

    with operator(api, tmp_path, **settings) as acting:
        acting.wait_ready()
        first = until(secret)
        api.delete("Secret", SYSTEM, "other-registry")
        again = until(secret)
        assert again[names.FILE_REGISTRY_KEY] == first[names.FILE_REGISTRY_KEY], "tokens stay good"
        acting.end()
    api.delete("Secret", SYSTEM, "fedloom-operator-keys")
    with operator(api, tmp_path, **settings | {"REGISTRY_HOSTS": "localhost,registry.example.com"}) as acting:
        acting.wait_ready()
        until(lambda: secret()[names.FILE_REGISTRY_KEY] != first[names.FILE_REGISTRY_KEY])
