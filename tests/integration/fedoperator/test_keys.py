"""The operator's keys: put back while they are in use; when they are lost for good, jobs say so and go on with new ones."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from fedapi import names
from fedapi.wire import subjects
from fedoperator.certificates import LIFETIME, renewed_after
from fedoperator.cluster.secret_store import SecretStore
from fedoperator.desired.secret_requests import SecretRequest
from tests.integration.fedoperator.kit import SYSTEM, complete, consortium, operator, rest, until
from tests.integration.fedoperator.kit import job as kit_job
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.apiserver
RENEWED_AFTER = renewed_after(LIFETIME)
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

        new = until(renewed)
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
        assert running.process.wait(PATIENCE_S) == 1, "Kubernetes starts it again, and then it reads them"


def test_sites_and_init_step_have_certificates_that_are_renewed(api, namespace):
    """As the real API server keeps them: who is named in them, and a patch that replaces them and nothing else."""
    now, uid = datetime.now(UTC), "5d1c1f9e-0000-4000-8000-000000000001"
    store = SecretStore(api.connection, SYSTEM, KEYS, lambda: now, lambda *_: None)
    job = api.create(kit_job(namespace))
    owner = {"apiVersion": names.API_VERSION, "kind": names.JOB_KIND, "name": "heart", "uid": job["metadata"]["uid"]}
    requests = {
        subjects.site(uid, "site-a"): SecretRequest("heart-site-a-0a1b2c3d", "Site", {}, owner, "site-a"),
        subjects.init(uid): SecretRequest("heart-init-0a1b2c3d", "Init", {}, owner),
    }
    for subject, request in requests.items():
        store.make(request, namespace, uid, now)
        before = api.get("Secret", namespace, request.name)
        made = x509.load_pem_x509_certificate(base64.b64decode(before["data"]["tls.crt"]))
        named = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert named.get_values_for_type(x509.UniformResourceIdentifier) == [subject]
        assert before["metadata"]["annotations"] == {
            names.ANNOTATION_CERTIFICATE_ENDS: made.not_valid_after_utc.isoformat()
        }
        now += RENEWED_AFTER
        assert request.name not in store.known(uid)
        store.make(request, namespace, uid, now - RENEWED_AFTER)
        after = api.get("Secret", namespace, request.name)
        changed = {name for name in after["data"] if after["data"][name] != before["data"][name]}
        assert changed == {"tls.crt", "tls.key"}
        assert request.name in store.known(uid)


def test_when_a_certificate_ends_is_asked_of_its_live_secret(api, namespace):
    """After a restart, by a patch that changes nothing: the answer holds no key, and the Secret stays as it was."""
    now, answers = datetime.now(UTC), []

    class Recorded:
        def request(self, *words, **options):
            answers.append(api.connection.request(*words, **options))
            return answers[-1]

    def store():
        return SecretStore(Recorded(), SYSTEM, KEYS, lambda: now, lambda *_: None)

    job = api.create(kit_job(namespace))
    owner = {"apiVersion": names.API_VERSION, "kind": names.JOB_KIND, "name": "heart", "uid": job["metadata"]["uid"]}
    request = SecretRequest("heart-aggregator-0a1b2c3d", "Aggregator", {}, owner, hosts=("localhost",))
    old_job = now - timedelta(days=400)
    store().make(request, namespace, "uid", old_job)
    before = api.get("Secret", namespace, request.name)
    again = store()
    answers.clear()
    again.make(request, namespace, "uid", old_job)
    assert request.name in again.known("uid")
    assert api.get("Secret", namespace, request.name) == before, "though the job is old, its certificate is not"
    (told,) = (answer for answer in answers if answer["kind"] != "Secret")
    assert told["kind"] == "PartialObjectMetadata"
    assert "data" not in told
    now += RENEWED_AFTER
    again.make(request, namespace, "uid", old_job)
    after = api.get("Secret", namespace, request.name)
    assert {name for name in after["data"] if after["data"][name] != before["data"][name]} == {"tls.crt", "tls.key"}
