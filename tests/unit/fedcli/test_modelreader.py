"""Reading a model out of a store volume: the pod that does it, and what runs in it, here on a folder."""

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import rfc8785
from typer.testing import CliRunner

from fedapi import names
from fedapi.wire.commit import CommitRecord
from fedapi.wire.issues import Issue, IssueRecord
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedapi.wire.store import Head
from fedcli import modelreader
from fedcli.commands import app
from fedcli.errors import ClusterError, CommandError
from fedcli.modelreader import Place, pull_from_claim, pull_model, reader_pod
from fedlocal.errors import BadInputError
from fedoperator.desired.pod import CONTAINER_SECURITY, POD_SECURITY

MODEL = bytes(range(256)) * 300
LAYOUT = Layout("hearts", "study-a", "11111111-2222-3333-4444-555555555555")


@dataclass
class Node:
    """Stands for a cluster whose one pod has the store at `folder`: its commands run here, in a real Python."""

    folder: Path
    job_status: dict | None = None
    job_spec: dict | None = None
    pods: tuple = ()
    commands: tuple = ()
    namespace: str = "hearts"
    uid: str = "u"

    def job(self, name):
        metadata = {"name": name, "namespace": self.namespace, "uid": self.uid}
        return {"metadata": metadata, "spec": self.job_spec or {}, "status": self.job_status}

    def jobs(self):
        return [self.job("study-a")]

    def deployment(self, name):
        spec = {"containers": [{"image": "hub:1", "imagePullPolicy": "Never"}], "nodeSelector": {"disk": "fast"}}
        return {"spec": {"selector": {"matchLabels": {"app": name}}, "template": {"spec": spec}}}

    def create_pod(self, manifest):
        self.pods += (manifest,)
        return "pod"

    def wait_for_pod(self, name, settled, timeout_s):
        return {"status": {"phase": "Running"}}

    def delete_pod(self, name):
        assert name == "pod"
        self.pods += ("deleted",)

    def output(self, pod, command):
        self.commands += (command,)
        here = [sys.executable, *(word.replace(names.PATH_STORE, str(self.folder)) for word in command[1:])]
        done = subprocess.run(here, capture_output=True, check=False)
        if done.returncode:
            raise ClusterError(done.stderr.decode().strip().rpartition("\n")[2])
        for start in range(0, len(done.stdout), 1000):
            piece = done.stdout[start : start + 1000]
            yield piece.replace(str(self.folder).encode(), names.PATH_STORE.encode())


def put(folder: Path, key: str, content: bytes) -> str:
    (folder / key).parent.mkdir(parents=True, exist_ok=True)
    (folder / key).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def node(tmp_path):
    """A volume as an aggregator leaves it: two commits, of which HEAD names the later."""
    folder, previous = tmp_path / "store", None
    for round_, content in enumerate((b"first", MODEL)):
        sha256 = hashlib.sha256(content).hexdigest()
        model = ObjectRef(key=LAYOUT.model(round_, sha256), sha256=sha256, size=len(content))
        put(folder, model.key, content)
        commit = CommitRecord(
            job_uid=LAYOUT.uid, round=round_, attempt=1, epoch=1, model=model, previous_sha256=previous,
            planned_at=1.0, committed_at=2.0,
        )  # fmt: skip
        key = f"{LAYOUT.attempt(round_, 1, 1)}/commit.json"
        previous = put(folder, key, commit.canonical())
    head = Head(epoch=1, round=1, commit_key=key, commit_sha256=previous)
    put(folder, LAYOUT.head, head.canonical())
    return Node(folder)


def test_a_volume_is_enough_when_the_job_is_deleted(node, tmp_path):
    target = tmp_path / "model.safetensors"
    assert pull_from_claim(node, "study-a-store-1", "any:1", target) == hashlib.sha256(MODEL).hexdigest()
    assert target.read_bytes() == MODEL
    manifest, end = node.pods
    assert (manifest["spec"]["containers"][0]["image"], end) == ("any:1", "deleted")
    assert "affinity" not in manifest["spec"]


def test_with_a_job_its_status_says_where_the_model_is(node, tmp_path):
    (key,) = (str(p.relative_to(node.folder)) for p in node.folder.glob("models/*/*/000001-*"))
    sha256 = hashlib.sha256(MODEL).hexdigest()
    node.job_status = {"model": {"uri": f"volume://study-a-store-1/{key}", "sha256": sha256}}
    assert pull_model(node, "study-a", tmp_path / "m") == sha256
    spec = node.pods[0]["spec"]
    assert (spec["containers"][0]["image"], spec["nodeSelector"]) == ("hub:1", {"disk": "fast"})
    (rule,) = spec["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert rule["podAffinityTerm"] == {
        "labelSelector": {"matchLabels": {"app": names.aggregator_name("study-a")}},
        "topologyKey": "kubernetes.io/hostname",
    }


def test_what_an_aggregator_deletes_meanwhile_is_not_missed(node, tmp_path):
    (node.folder / "gone").symlink_to(tmp_path / "nowhere")
    assert [each.record.round for each in modelreader.rounds_of_claim(node, "claim", "image:1")] == [0, 1]


def test_any_round_of_which_the_model_is_kept(node, tmp_path):
    target, first = tmp_path / "m", hashlib.sha256(b"first").hexdigest()
    assert pull_from_claim(node, "claim", "any:1", target, 0) == first
    assert target.read_bytes() == b"first"
    (key,) = (str(p.relative_to(node.folder)) for p in node.folder.glob("models/*/*/000001-*"))
    node.job_status = {"model": {"uri": f"volume://study-a-store-1/{key}", "sha256": "0" * 64}}
    assert pull_model(node, "study-a", target, 0) == first
    assert [(each.record.round, each.kept) for each in modelreader.rounds(node, "study-a")] == [(0, True), (1, True)]
    next(node.folder.glob("models/*/*/000000-*")).unlink()
    found = modelreader.rounds_of_claim(node, "claim", "any:1")
    assert [(each.record.round, each.kept) for each in found] == [(0, False), (1, True)]
    with pytest.raises(CommandError, match=r"model of round 0 is not kept .*: kept are 1"):
        pull_from_claim(node, "claim", "any:1", target, 0)
    with pytest.raises(CommandError, match="round 2 is not committed: choose one of 0 to 1"):
        pull_from_claim(node, "claim", "any:1", target, 2)


def newer_head() -> bytes:
    """As a version writes it in which jobs can end otherwise."""
    table = json.loads(Head(epoch=1, round=-1).canonical()) | {"finished": "Stopped"}
    return rfc8785.dumps(table | {"checksum": hashlib.sha256(rfc8785.dumps(table)).hexdigest()})


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / LAYOUT.head).unlink(), "stores of 0 jobs"),
        (lambda folder: put(folder, Layout("hearts", "b", "2" * 8 + LAYOUT.uid[8:]).head, b"{}"), "stores of 2 jobs"),
        (lambda folder: put(folder, LAYOUT.head, Head(epoch=1, round=-1).canonical()), "no model is committed yet"),
        (lambda folder: put(folder, LAYOUT.head, b'{"epoch": "x"}'), "are damaged"),
        (lambda folder: put(folder, LAYOUT.head, newer_head()), "go on with the version of Fedloom that wrote it"),
        (lambda folder: put(folder, f"{LAYOUT.attempt(1, 1, 1)}/commit.json", b"{}"), "is lost or changed"),
        (lambda folder: put(folder, f"{LAYOUT.attempt(0, 1, 1)}/commit.json", b"{}"), "the commit of round 0"),
        (lambda folder: next(folder.glob("models/*/*/000001-*")).write_bytes(b"other"), "was committed: pull again"),
        (lambda folder: next(folder.glob("models/*/*/000001-*")).unlink(), "No such file"),
    ],
)
def test_a_damaged_volume_is_named_and_nothing_is_left(node, tmp_path, damage, words):
    damage(node.folder)
    with pytest.raises(CommandError, match=re.escape(words)):
        pull_from_claim(node, "claim", "any:1", tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert node.pods[-1] == "deleted"


def test_the_reader_pod_is_as_restricted_as_all_pods_of_fedloom_and_reads_only():
    pod = reader_pod("claim", Place("i", "Never", {"tolerations": [{"key": "k"}]}))
    spec = pod["spec"]
    container = spec["containers"][0]
    assert spec["volumes"][0] == {
        "name": "store",
        "persistentVolumeClaim": {"claimName": "claim", "readOnly": True},
    }
    assert container["volumeMounts"][0]["readOnly"]
    assert (container["image"], container["imagePullPolicy"], spec["tolerations"]) == ("i", "Never", [{"key": "k"}])
    assert spec["automountServiceAccountToken"] is False
    assert (spec["securityContext"], container["securityContext"]) == (POD_SECURITY, CONTAINER_SECURITY)
    assert pod["metadata"]["name"].count(modelreader.names.digest8("claim")) == 1


@pytest.mark.parametrize(
    "options", [[], ["job", "--claim", "c", "--image", "i"], ["--claim", "c"], ["job", "--image", "i"]]
)
def test_either_a_job_or_a_claim_with_an_image(options):
    for command in ("pull", "list"):
        assert isinstance(CliRunner().invoke(app, ["model", command, *options]).exception, BadInputError)


def test_a_store_on_a_cluster_is_repaired_in_a_pod_that_may_write_it(node):
    node.job_status = {"children": {"volumeClaim": "study-a-store-1"}}
    head = node.folder / LAYOUT.head
    head.unlink()
    said = modelreader.repair_store(node, "study-a")
    assert "HEAD.json is missing" in said[0]
    assert "hearts/study-a: HEAD was set to round 1" in said[1]
    assert [command[:2] for command in node.commands] == [["python", "-I"]]  # as all programs of the hub
    manifest, end = node.pods
    container = manifest["spec"]["containers"][0]
    assert (container["image"], end, container["volumeMounts"][0].get("readOnly", False)) == ("hub:1", "deleted", False)
    assert "readOnly" not in manifest["spec"]["volumes"][0]["persistentVolumeClaim"]
    node.job_status = {}
    with pytest.raises(CommandError, match="has no volume claim yet"):
        modelreader.repair_store(node, "study-a")


def test_a_store_that_a_lease_keeps_others_off_is_repaired_when_no_aggregator_writes_it(node, monkeypatch):
    bucket = {"bucket": "models", "endpoint": "https://garage:3900", "conditionalWrites": "LeaseFenced"}
    monkeypatch.setattr(modelreader, "bucket_of", lambda *_: SimpleNamespace(repaired=lambda key: ["whole", key]))
    node.job_spec = {"storage": {"s3": bucket}}
    with pytest.raises(CommandError, match=r"suspend the job \(spec.suspend\)"):
        modelreader.repair_store(node, "study-a")
    for spec, status in (({"suspend": True}, {}), ({}, {"outcome": {"result": "Complete"}})):
        node.job_spec, node.job_status = {"storage": {"s3": bucket}} | spec, {**status, "ledger": {"publicKey": "k"}}
        assert modelreader.repair_store(node, "study-a") == ["whole", "k"]


def test_what_was_issued_is_read_from_a_volume_by_a_pod_and_what_cannot_be_read_is_told(node, monkeypatch):
    def told(round_, **changes):
        issue = Issue(method="PUT", object=ObjectRef(key="k", sha256="0" * 64, size=7), holders={"north/2/1": 90.0})
        record = IssueRecord(job_uid=LAYOUT.uid, round=round_, attempt=1, since=1.0, until=2.0, issues=(issue,))
        return record.model_copy(update=changes).sealed().canonical()

    for round_, content in ((1, told(1)), (2, told(2, omitted=3)), (3, b"{")):
        put(node.folder, f"{LAYOUT.attempt(round_, 1, 1)}/issues.json", content)
    node.job_status = {"children": {"volumeClaim": "study-a-store-1"}}
    monkeypatch.setattr("fedcli.cluster.connect", lambda *_: node)
    done = CliRunner().invoke(app, ["storage", "issued", "study-a"])
    assert [line.split() for line in done.output.splitlines()] == [
        ["ROUND", "RECORDED", "SITE", "FOR", "METHOD", "OBJECT", "BYTES", "EXPIRES"],
        *(
            [round_, "1970-01-01T00:00:02Z", "north", "2,", "attempt", "1", "PUT", "k", "7", "1970-01-01T00:01:30Z"]
            for round_ in ("1", "2")
        ),
    ]
    assert isinstance(done.exception, CommandError)
    assert "e1-a1/issues.json: 3 more were issued" in str(done.exception)
    assert "000003/e1-a1/issues.json: it is not canonical JSON" in str(done.exception)
    assert (node.pods[0]["spec"]["volumes"][0]["persistentVolumeClaim"]["readOnly"], node.pods[-1]) == (True, "deleted")


@pytest.mark.parametrize("options", [[], ["--store", "/x", "--workdir", "y"], ["--store", "/nowhere"]])
def test_what_was_issued_is_asked_of_one_place(options):
    assert isinstance(CliRunner().invoke(app, ["storage", "issued", *options]).exception, BadInputError)
