"""The model of round 0 arrives by grant: once, from whoever has the init step's token, whatever dies in between."""

import hashlib
import os
import signal
import subprocess
import sys

import pytest
from safetensors.numpy import save

from fedaggregator.errors import FatalError
from fedapi import names
from fedapi.outcome import Exit
from fedapi.wire.initial import InitialManifest, InitialUpload
from fedapi.wire.site import NextRequest, Receipt, UploadGrant
from fedapi.wire.tokens import init_token
from tests.integration.fedaggregator.harness import (
    JOB_KEY,
    UID,
    Aggregator,
    JobFolder,
    config,
    https,
    small_model,
    until,
)
from tests.waiting import PATIENCE_S

MODEL = save(small_model())
SHA256 = hashlib.sha256(MODEL).hexdigest()


@pytest.fixture
def hub(tmp_path):
    job = JobFolder(tmp_path, config(), model=None)
    with Aggregator(job).ready() as aggregator:
        yield job, aggregator


def post(http, what, message):
    return http.post(f"/v1/initial/{what}", content=message.model_dump_json())


def granted(http, data=MODEL) -> UploadGrant:
    request = InitialUpload(job_uid=UID, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    answer = post(http, "uploads", request)
    assert answer.status_code == 200, answer.text
    return UploadGrant.model_validate_json(answer.content)


def models(job) -> list[str]:
    return [path.name for path in (job.root / "store" / job.layout.models()).glob("*")]


def test_it_is_committed_once_and_then_there_is_nothing_to_send(hub):
    job, _ = hub
    http = https(job, token=init_token(JOB_KEY))
    grant = granted(http)
    http.put(grant.url, content=MODEL).raise_for_status()
    manifest = InitialManifest(job_uid=UID, payload=grant.object)
    receipts = [Receipt.model_validate_json(post(http, "models", manifest).content) for _ in range(2)]
    assert [receipt.duplicate for receipt in receipts] == [False, True]
    assert job.head().round == 0
    assert job.commits()[0].model.sha256 == SHA256
    late = post(http, "uploads", InitialUpload(job_uid=UID, sha256="a" * 64, size=1))
    assert (late.status_code, late.json()["code"]) == (409, "Duplicate")
    assert http.put(grant.url, content=MODEL).status_code == 409
    job.write_initial(MODEL)
    job.hand_in()  # an init Job that is run again finds its work done


def test_tokens_of_sites_and_of_the_init_step_are_not_for_each_other(hub):
    job, _ = hub
    request = InitialUpload(job_uid=UID, sha256=SHA256, size=len(MODEL))
    manifest = InitialManifest(job_uid=UID, payload={"key": job.layout.model(0, SHA256), "sha256": SHA256, "size": 1})
    for http in (https(job), https(job, "a")):
        assert [post(http, *asked).status_code for asked in (("uploads", request), ("models", manifest))] == [401, 401]
    asked = https(job, token=init_token(JOB_KEY)).post("/v1/sites/a/next", content=NextRequest().model_dump_json())
    assert asked.status_code == 401
    job.write_initial(MODEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.integration.fedaggregator.harness.init_token", lambda _: "wrong")
        with pytest.raises(FatalError, match="refuses the init step") as told:
            job.hand_in()
    assert told.value.code == Exit.REFUSED


def test_what_is_no_model_is_told_and_a_volume_is_not_filled(hub):
    job, _ = hub
    job.write_initial(b"garbage")
    with pytest.raises(FatalError, match="not a safetensors file") as told:
        job.hand_in()
    assert told.value.code == Exit.TASK_INVALID
    http = https(job, token=init_token(JOB_KEY))
    for number in range(5):
        data = b"%d" % number * 1000
        http.put(granted(http, data).url, content=data).raise_for_status()
        assert len(models(job)) == 1, "one that was sent and never handed in makes room"
    wrong = http.put(granted(http).url, content=MODEL[:-1] + b"x")
    assert (wrong.status_code, wrong.json()["code"]) == (422, "WrongDigest")
    missing = post(http, "models", InitialManifest(job_uid=UID, payload=granted(http).object))
    assert (missing.status_code, missing.json()["code"]) == (410, "Missing")
    job.write_initial(MODEL)
    job.hand_in()
    assert models(job) == [f"000000-{SHA256}.safetensors"]


def test_an_upload_before_a_crash_is_handed_in_after_it(tmp_path):
    job = JobFolder(tmp_path, config(), model=None)
    with Aggregator(job).ready() as aggregator:
        http = https(job, token=init_token(JOB_KEY))
        grant = granted(http)
        http.put(grant.url, content=MODEL).raise_for_status()
        aggregator.process.send_signal(signal.SIGKILL)
        aggregator.wait()
    with Aggregator(job).ready():
        answer = post(
            https(job, token=init_token(JOB_KEY)), "models", InitialManifest(job_uid=UID, payload=grant.object)
        )
        assert answer.status_code == 200
        assert job.head().round == 0


def test_a_file_that_release_0_1_left_on_the_volume_is_not_read(tmp_path):
    """Its init Job is run anew by the operator; what is in the folder may be half of a model."""
    job = JobFolder(tmp_path, config(), model=None)
    left = job.root / "store" / "incoming" / UID / names.INIT_MODEL_FILE
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    with Aggregator(job).ready():
        job.write_initial(MODEL)
        job.hand_in()
        assert job.commits()[0].model.sha256 == SHA256


def test_the_program_waits_for_the_aggregator_and_says_why_it_ends(tmp_path):
    job = JobFolder(tmp_path, config())
    credentials = job.root / "init-credentials"
    credentials.mkdir()
    environment = job.env() | {
        names.ENV_AGGREGATOR_URL: job.url,
        names.ENV_CREDENTIALS_DIR: str(credentials),
        names.ENV_INIT_DIR: str(job.init_dir),
        "HOME": os.environ["HOME"],
    }
    command = [sys.executable, "-m", "fedaggregator.handin"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == Exit.BAD_SETTINGS
    assert "token and ca.crt are needed" in (tmp_path / "termination.log").read_text()
    (credentials / names.FILE_TOKEN).write_text(init_token(JOB_KEY))
    (credentials / names.FILE_CA).write_bytes((job.root / "credentials" / names.FILE_CA).read_bytes())
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as early:
        until(lambda: "tried again" in early.stderr.readline())
        with Aggregator(job).ready():
            assert early.wait(PATIENCE_S) == 0
            assert job.head().round == 0
