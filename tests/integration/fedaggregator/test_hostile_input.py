"""What sites and strangers may send: each is refused with its code, recorded, and the round goes on."""

import hashlib
import time
from functools import partial

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from fedaggregator.http.signedurls import UrlSigner
from fedaggregator.ports import Holder
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import EvaluationReport, UploadRequest
from fedapi.wire.tokens import blob_key, site_token
from tests.integration.fedaggregator.harness import (
    JOB_KEY,
    UID,
    Aggregator,
    JobFolder,
    Site,
    config,
    https,
    monitored,
    small_model,
    until,
)


def with_value(value) -> bytes:
    model = small_model()
    model["layer.bias"][1] = value
    return save(model)


WRONG_CONTENT = {
    "garbage": (b"\x07garbage" * 20, "Malformed"),
    "pickle": (
        b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
        "Malformed",
    ),
    "truncated": (save(small_model())[:-5], "Malformed"),
    "nan": (with_value(np.nan), "NotFinite"),
    "inf": (with_value(-np.inf), "NotFinite"),
    "shape": (save(small_model() | {"layer.bias": np.zeros(4, np.float32)}), "WrongShape"),
    "dtype": (save(small_model() | {"layer.bias": np.zeros(3, np.float64)}), "WrongShape"),
    "missing": (save({"layer.bias": np.zeros(3, np.float32)}), "WrongShape"),
}
OTHERS = ("good", "inliner", "late", "liar", "resend", "forger", "big", "http", "absurd", "hoarder")
BY_URL = tuple(f"{name}-by-url" for name in WRONG_CONTENT)
CLIENTS = (*WRONG_CONTENT, *BY_URL, *OTHERS)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """One round that stays open while all sites misbehave."""
    job = JobFolder(tmp_path_factory.mktemp("hostile"), config(CLIENTS, rounds=1, quorum=1, deadline_s=600))
    with Aggregator(job).ready() as aggregator:
        for client in CLIENTS:
            site = Site(job, client)
            site.next(0.0)
        yield job, aggregator


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def client_status(job: JobFolder, name: str) -> dict:
    return next(c for c in job.status()["clients"] if c["name"] == name)


@pytest.mark.parametrize("client", [*WRONG_CONTENT, *BY_URL])
def test_wrong_content_is_refused_once_and_for_all(hub, client):
    job, _ = hub
    data, expected = WRONG_CONTENT[client.removesuffix("-by-url")]
    site = Site(job, client)
    order = site.next().train
    response = site.put(order, data) if client in BY_URL else site.upload(order, data)
    assert code(response) == (422, expected), response.text
    assert site.next(0.0).kind == "Wait"  # the same training would send the same again
    until(lambda: client_status(job, client)["failures"] == 1, not_yet=(KeyError,))
    assert client_status(job, client)["state"] == "Failed"
    assert expected in client_status(job, client)["message"]


def test_size_and_digest_are_bound_into_the_url(hub):
    job, _ = hub
    site = Site(job, "liar")
    order = site.next().train
    data = save(small_model())
    grant = site.grant(order, data)
    for body, expected in ((data[:-1], "WrongSize"), (data + b"x", "WrongSize"), (b"y" * len(data), "WrongDigest")):
        assert code(site.http.put(grant.url, content=body)) == (422, expected)
    chunks = (data[i : i + 7] for i in range(0, len(data), 7))
    assert site.http.put(grant.url, content=chunks).status_code == 200  # no content-length: counted all the same
    early = Site(job, "forger")
    assert code(early.post("updates", early.manifest(order, early.grant(order, data)))) == (410, "Missing")
    assert code(site.post("updates", site.manifest(order, grant, base_sha256="0" * 64))) == (409, "WrongBase")
    other = ObjectRef(
        key=order.model.url.split("/v1/blobs/")[1].split("?")[0], sha256=order.model.sha256, size=order.model.size
    )
    assert code(site.post("updates", site.manifest(order, grant, payloads={"update": {"object": other}}))) == (
        422,
        "Malformed",
    )
    until(lambda: not list((job.root / "store" / ".tmp").iterdir()))  # the ledger may be written now


def test_what_comes_in_a_message_is_bound_to_its_manifest(hub):
    job, _ = hub
    site = Site(job, "inliner")
    order = site.next().train
    data = save(small_model())
    ref = order.inline.object(hashlib.sha256(data).hexdigest(), len(data))
    manifest = partial(site.manifest, order, ref)
    for content, expected in (
        ({"update": data[:-1]}, (422, "WrongSize")),
        ({"update": data + b"x"}, (422, "WrongSize")),
        ({"update": b"y" * len(data)}, (422, "WrongDigest")),
        ({"other": data}, (422, "Malformed")),
        ({"update": b"", "other": data}, (422, "Malformed")),
        ({"update": b"z" * ((64 << 10) + 1)}, (413, "TooLarge")),
        ({"update": b"z" * (256 << 10)}, (413, "TooLarge")),
        ({}, (410, "Missing")),
    ):
        assert code(site.post("updates", manifest(content=content))) == expected
    body = manifest(content={"update": data}).model_dump_json()
    for said in (body.replace('"update":"', '"update":"?'), body.replace('"update":"', '"update":7,"more":"')):
        assert said != body
        assert code(site.http.post("/v1/sites/inliner/updates", content=said)) == (422, "Malformed")
    elsewhere = ref.model_copy(update={"key": ref.key.replace("inliner", "good")})
    said = site.manifest(order, elsewhere, content={"update": data})
    assert code(site.post("updates", said)) == (422, "Malformed")
    assert not list((job.root / "store" / "updates").rglob("client_inliner_*"))
    until(lambda: not list((job.root / "store" / ".tmp").iterdir()))  # the ledger may be written now
    again = [site.post("updates", manifest(content={"update": data})).json()["duplicate"] for _ in range(2)]
    assert again == [False, True]
    other = save({name: value + 1 for name, value in small_model().items()})
    ref = order.inline.object(hashlib.sha256(other).hexdigest(), len(other))
    said = site.manifest(order, ref, content={"update": other}, nonce="another-nonce-00")
    assert code(site.post("updates", said)) == (409, "Duplicate")
    assert len(list((job.root / "store" / "updates").rglob("client_inliner_*.safetensors"))) == 1


def test_oversized_uploads_are_not_granted(hub):
    job, _ = hub
    site = Site(job, "big")
    order = site.next().train
    request = UploadRequest(round=1, attempt=1, sha256="0" * 64, size=1 << 40)
    assert code(site.post("uploads", request)) == (413, "TooLarge")
    assert code(site.http.post("/v1/sites/big/next", content=b"x" * (2 << 20))) == (413, "TooLarge")
    assert order.round == 1


def test_urls_cannot_be_forged_or_kept(hub):
    job, _ = hub
    site = Site(job, "forger")
    order = site.next().train
    data = save(small_model())
    url = site.grant(order, data).url
    assert code(site.http.get(url)) == (401, "Unauthorized")  # it is for PUT
    assert code(site.http.put(url.replace("size=", "size=1"), content=data)) == (401, "Unauthorized")
    assert code(site.http.put(url.replace("forger", "good"), content=data)) == (401, "Unauthorized")
    assert code(site.http.get(order.model.url[:-1] + "z")) == (401, "Unauthorized")
    assert site.http.get("/v1/blobs/../../etc/passwd").status_code in (401, 404)
    blob = ObjectRef(key=f"updates/{hashlib.sha256().hexdigest()}", sha256="0" * 64, size=1)
    signer = UrlSigner(blob_key(JOB_KEY), job.url, 10.0)
    assert code(site.http.get(signer.signed("GET", blob, time.time() - 60, Holder("forger"))[0])) == (410, "Expired")
    assert code(site.http.get(signer.signed("GET", blob, time.time(), Holder("forger"))[0])) == (410, "Missing")
    evil = ObjectRef(key="../../../../etc/passwd", sha256="0" * 64, size=1)
    assert site.http.get(signer.signed("GET", evil, time.time(), Holder("forger"))[0]).status_code >= 400


@pytest.mark.parametrize(
    ("client", "token", "expected"),
    [
        ("good", None, (401, "Unauthorized")),
        ("good", "0" * 64, (401, "Unauthorized")),
        ("good", site_token(JOB_KEY, "late"), (401, "Unauthorized")),
        ("good", site_token(b"another job's key...............", "good"), (401, "Unauthorized")),
        ("stranger", site_token(JOB_KEY, "stranger"), (403, "NotInJob")),
    ],
)
def test_only_the_site_itself_is_heard(hub, client, token, expected):
    job, _ = hub
    http = https(job, token=token)
    for route in ("next", "uploads", "updates", "evaluations", "failures"):
        assert code(http.post(f"/v1/sites/{client}/{route}", content=b"{}")) == expected


def test_messages_that_are_none(hub):
    job, _ = hub
    http = https(job, "http")
    for route, body in (
        ("next", b"{"),
        ("next", b'{"wait_s": 1e9}'),
        ("next", b'{"x": 1}'),
        ("updates", b"[]"),
        ("uploads", b"\xff"),
    ):
        assert code(http.post(f"/v1/sites/http/{route}", content=body)) == (422, "Malformed")
    assert http.get("/v1/sites/http/next").status_code == 405
    assert http.post("/elsewhere").status_code == 404
    assert http.put("/v1/blobs/x", content=b"y").status_code == 401


def test_resending_is_answered_and_counts_once(hub):
    job, _ = hub
    site = Site(job, "resend")
    order = site.next().train
    data = save(small_model())
    grant = site.grant(order, data)
    for _ in range(2):
        site.http.put(grant.url, content=data).raise_for_status()
    manifest = site.manifest(order, grant)
    answers = [site.post("updates", manifest).json() for _ in range(2)]
    assert answers == [{"accepted": True, "duplicate": False}, {"accepted": True, "duplicate": True}]
    assert code(site.post("updates", site.manifest(order, grant, nonce="another-nonce-00"))) == (409, "Duplicate")


def test_numbers_that_would_spoil_sums_are_refused(hub):
    """Finite, each of them; their sums over sites would not be, and no record could be made of them ever after."""
    job, _ = hub
    site = Site(job, "absurd")
    order = site.next().train
    data = save(small_model())
    grant = site.grant(order, data)
    site.http.put(grant.url, content=data).raise_for_status()
    honest = site.manifest(order, grant)
    for values in (
        {"metrics": {"loss": 1.7e308}}, {"samples": 1 << 41}, {"samples": 1 << 62}, {"training_s": 1e300},
        {"steps": 1 << 53}, {"steps": 10**400},
    ):  # fmt: skip
        lie = honest.model_copy(update={"body": honest.body.model_copy(update=values)})
        assert code(site.post("updates", lie)) == (422, "Malformed")
    assert site.post("updates", site.manifest(order, grant, samples=10**9, metrics={"x": 1e100})).status_code == 200
    for values in ({"metrics": {"loss": -1.7e308}}, {"samples": 1 << 53}):
        fields = {"samples": 10, "metrics": {}}
        report = EvaluationReport(job_uid=UID, round=0, client="absurd", model_sha256=order.model.sha256, **fields)
        assert code(site.post("evaluations", report.model_copy(update=values))) == (422, "Malformed")
    metrics = {f"m{i}": 1e100 for i in range(32)}
    report = EvaluationReport(
        job_uid=UID, round=0, client="absurd", model_sha256=order.model.sha256, samples=10**9, metrics=metrics
    )
    site.post("evaluations", report).raise_for_status()
    other = Site(job, "good")
    other.evaluate(0, order.model)  # 34 metrics over both sites


def test_a_site_stores_few_updates_and_none_after_the_one_that_counts(hub):
    job, _ = hub
    site = Site(job, "hoarder")
    order = site.next().train
    updates = [save({name: value + i for name, value in small_model().items()}) for i in range(5)]
    grants = [site.grant(order, data) for data in updates]
    answers = [site.http.put(g.url, content=data) for g, data in zip(grants, updates, strict=True)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 413, 413]
    assert site.http.put(grants[0].url, content=updates[0]).status_code == 200  # the same again is no more
    assert len(list((job.root / "store" / "updates").rglob("client_hoarder_*.safetensors"))) == 3
    done = Site(job, "resend")
    assert code(done.post("uploads", UploadRequest(round=1, attempt=1, sha256="0" * 64, size=9))) == (409, "Duplicate")


def test_stale_messages(hub):
    job, _ = hub
    site = Site(job, "late")
    order = site.next().train
    data = save(small_model())
    for values, expected in (
        ({"round": 2}, "StaleRound"),
        ({"round": 0}, "StaleRound"),
        ({"attempt": 2}, "StaleAttempt"),
    ):
        stale = order.model_copy(update=values)
        with pytest.raises(httpx.HTTPStatusError, match="409"):
            site.grant(stale, data)
        assert code(site.post("updates", site.manifest(stale, site.grant(order, data)))) == (409, expected)
    assert code(site.post("updates", site.manifest(order, site.grant(order, data), job_uid="predecessor"))) == (
        403,
        "NotInJob",
    )


def test_zz_the_round_goes_on(hub):
    """Runs last: with all that behind it, the round commits what was good."""
    job, aggregator = hub
    site = Site(job, "good")
    assert site.take_part(site.next().train).status_code == 200
    for name in ("late", "liar", "forger", "big", "http", "hoarder"):
        other = Site(job, name)
        other.fail(other.next().train)
    until(lambda: job.head().round == 1)
    assert [p.client for p in job.commits()[-1].participants] == ["absurd", "good", "inliner", "resend"]
    metrics = monitored(job, "/metrics").text
    assert 'fedloom_aggregator_refusals_total{code="NotFinite"} 4.0' in metrics
    assert "signature" not in aggregator.log()
    assert site_token(JOB_KEY, "good") not in aggregator.log()
