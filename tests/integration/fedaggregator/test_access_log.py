"""The access log of the real process: every call is in it, and nothing that its reader could speak for somebody with."""

import json
import re

import numpy as np
import pytest

from fedapi.wire.site import NextRequest
from fedapi.wire.tokens import blob_key, init_token, site_token
from tests.integration.fedaggregator import raw
from tests.integration.fedaggregator.buckets import job_in
from tests.integration.fedaggregator.harness import JOB_KEY, SPEAKS, Aggregator, JobFolder, config, https, run_sites
from tests.waiting import until


def records(aggregator):
    whole = aggregator.log().rpartition("\n")[0]  # it may be writing the last line
    lines = [json.loads(line) for line in whole.splitlines() if '"fedloom.access"' in line]
    assert all((line["namespace"], line["job"], line["uid"]) == ("lab", "job", line["uid"]) for line in lines)
    return lines


def secrets(job):
    """What would let a reader of the log speak for somebody."""
    private = (job.root / "credentials" / "tls.key").read_text().splitlines()[1]
    tokens = [site_token(JOB_KEY, name) for name in ("a", "b")]
    of_store = [each.read_text().strip() for each in sorted(job.store_credentials.iterdir())] if job.place else []
    keys = [JOB_KEY.hex(), blob_key(JOB_KEY).hex(), private, *(each for each in of_store if len(each) < 100)]
    return [*tokens, init_token(JOB_KEY), *keys]


def check_silent(log, job):
    assert [secret for secret in secrets(job) if secret in log] == []
    assert re.findall(r"(?i)signature=|x-amz-|bearer|BEGIN [A-Z ]*PRIVATE", log) == []


@pytest.mark.parametrize("where", ["volume", "bucket"])
def test_a_job_leaves_a_record_of_each_call_and_no_secret(tmp_path, seaweedfs, where):
    env = {"FEDLOOM_HTTP_INLINE_BYTES": "0", "FEDLOOM_LOG_LEVEL": "DEBUG"}
    job = job_in(seaweedfs, tmp_path, env=env) if where == "bucket" else JobFolder(tmp_path, config(), extra_env=env)
    with Aggregator(job).ready() as aggregator:
        run_sites(job)
        until(lambda: "outcome" in job.status())
    found = records(aggregator)
    done = {(each["action"], each.get("client"), each.get("round")) for each in found if each["outcome"] == "Done"}
    for client in "ab":
        assert {(action, client, round_) for action in ("next", "uploads", "updates") for round_ in (1, 2, 3)} <= done
    assert {("initial-uploads", "@init", None), ("initial-models", "@init", None)} <= done
    by_url = {each for each in done if each[0] in ("upload", "download")}
    if where == "bucket":
        assert not by_url, "those calls are the store's"
    else:
        assert {("upload", "a", 2), ("download", "b", None), ("upload", "@init", None)} <= by_url
    assert {each["identity"] for each in found if each.get("client")} <= {"Token", "SignedUrl"}
    assert {each["remote"] for each in found} == {"127.0.0.1"}
    handed = [each for each in found if each["action"] == "updates"]
    assert all(each["status"] == 200 and each["bytes_in"] > 300 and each["bytes_out"] > 0 for each in handed)
    check_silent(aggregator.log(), job)


def test_a_large_body_counts_although_threads_move_it(tmp_path):
    large = {"layer.weight": np.ones((3 << 18,), np.float32)}
    job = JobFolder(tmp_path, config(("a",), rounds=1), model=large)
    with Aggregator(job).ready() as aggregator:
        run_sites(job)
        until(lambda: "outcome" in job.status())
    moved = {each["action"]: each for each in records(aggregator) if each["action"] in ("upload", "download")}
    assert 3 << 20 < moved["download"]["bytes_out"] < 4 << 20
    assert 3 << 20 < moved["upload"]["bytes_in"] < 4 << 20


def test_who_is_refused_is_recorded_with_the_reason_and_without_what_was_shown(tmp_path):
    job = JobFolder(tmp_path, config(("a", "b")))
    message = NextRequest(wait_s=0, **SPEAKS).model_dump_json()
    shown = "5ec2e7" * 8
    with Aggregator(job).ready() as aggregator:
        https(job, token=shown).post("/v1/sites/a/next", content=message)
        https(job).put(f"/v1/blobs/models/x?signature={shown}", content=b"1")
        https(job, "a").post("/v1/sites/a/updates", content=b"{}")
        https(job, "a").get(f"/elsewhere?token={shown}")
        with raw.connected(job) as connection:
            connection.send(b"no request at all\r\n\r\n")
            assert connection.status() == 400
        until(lambda: len([each for each in records(aggregator) if each["outcome"] != "Done"]) == 5)
    refused = [each for each in records(aggregator) if each["outcome"] != "Done"]
    told = [(each.get("action"), each.get("client"), each["outcome"], each["status"]) for each in refused]
    assert told == [
        ("next", None, "Unauthorized", 401),
        ("upload", None, "Unauthorized", 401),
        ("updates", "a", "Malformed", 422),
        (None, None, "NoRoute", 404),
        (None, None, "Malformed", 400),
    ]
    assert shown not in aggregator.log()
