"""`fedloom evaluate`: what it asks for, and how it ends, against an API that is scripted."""

import pytest
import yaml
from typer.testing import CliRunner

from fedapi.wire.commit import CommitRecord
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedapi.wire.store import Head
from fedcli import bucketreader, evaluate
from fedcli import cluster as clusters
from fedcli.commands import app
from fedcli.errors import CommandError
from fedlocal.errors import BadInputError
from fedlocal.validation import checked
from fedstore.memory import MemoryStore


class Scripted:
    """A job that answers the second time that it is looked at."""

    namespace = "lab"

    def __init__(self, **answer):
        self.answer, self.asked, self.looks = answer, [], 0

    def job(self, name):
        self.looks += 1
        if not self.asked or self.looks < 4:
            return {"metadata": {"name": name}, "status": {"evaluation": {"round": 1, "id": "old", "state": "Done"}}}
        told = {"round": self.asked[-1]["round"], "id": self.asked[-1]["id"], "sites": "1/2"} | self.answer
        return {"metadata": {"name": name}, "status": {"evaluation": told}}

    def patch_job(self, name, patch):
        self.asked.append(patch["spec"]["evaluation"]["request"])


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(evaluate, "POLL_S", 0.0)

    def run(cluster, *options):
        monkeypatch.setattr(clusters, "connect", lambda *_: cluster)
        return CliRunner().invoke(app, ["evaluate", "study", *options])

    return run


def test_it_waits_for_the_answer_to_its_own_request(run):
    cluster = Scripted(state="Done", sites="2/2", metrics=[{"name": "accuracy", "value": "0.75", "round": 3}])
    done = run(cluster, "--round", "3", "--sites", "a,b")
    assert done.exit_code == 0, done.output
    assert cluster.asked[0] | {"id": ""} == {"round": 3, "id": "", "clients": ["a", "b"], "selector": None}
    assert "0.75" in done.output
    assert "round 3, 2/2 sites" in done.output


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"state": "Incomplete", "missing": ["b"]}, "without an answer: b"),
        ({"state": "Refused", "message": "not kept"}, "not kept"),
    ],
)
def test_what_is_not_answered_is_an_error(run, answer, words):
    failed = run(Scripted(**answer), "--round", "3").exception
    assert isinstance(failed, CommandError)
    assert words in str(failed)


S3 = {
    "bucket": "models",
    "prefix": "hearts",
    "region": "eu-1",
    "kmsKeyID": "k",
    "credentialsSecretRef": {"name": "fedloom-store-s"},
}
SHA256 = "5a" * 32


def ended(**spec):
    task = {"entrypoint": "a.b:c", "image": "i", "args": {"n": 3}}
    asked = {
        "task": task, "rounds": 20, "seed": 7, "strategy": {"name": "Krum", "krum": {"byzantine": 1}}, "stop": {"metric": "m", "patience": 2},
        "clients": {"selector": {"matchLabels": {"consortium": "hearts"}}, "policy": "Random", "perRound": 2, "minAvailable": 5},
        "round": {"quorum": 2, "deadline": "5m"}, "training": {"localSteps": 7, "batchSize": 16},
    }  # fmt: skip
    metadata = {"name": "study", "namespace": "lab", "uid": "uid-1"}
    return {
        "metadata": metadata,
        "spec": asked | spec,
        "status": {"conditions": [{"type": "Complete", "status": "True"}]},
    }


@pytest.fixture
def over(monkeypatch):
    """A job that has ended, with a store in memory that holds round 0."""

    def over(store, commit, **spec):
        monkeypatch.setattr(bucketreader, "open_store", lambda *_: store)
        key = Layout("lab", "study", "uid-1")
        if commit is not None:
            for ref in filter(None, (commit.model, commit.initial)):
                store.put_once(ref.key, b"model")
            at = f"{key.round(0)}/e1-a0/commit.json"
            store.put_once(at, commit.sealed().canonical())
            head = Head(epoch=1, round=0, commit_key=at, commit_sha256=commit.sealed().digest())
            store.replace_head(key.head, head.sealed().canonical(), None)
        cluster = Scripted()
        cluster.job = lambda _: ended(**spec)
        return cluster

    return over


def committed(**values):
    model = ObjectRef(key=f"models/lab/study-uid-1/000000-{SHA256}.safetensors", sha256=SHA256, size=5)
    return CommitRecord(
        job_uid="uid-1", round=0, attempt=0, epoch=1, model=model, planned_at=0, committed_at=0, **values
    )


@pytest.mark.parametrize(
    ("labels", "selector"), [([], {"consortium": "hearts"}), (["-l", "role=check"], {"role": "check"})]
)
def test_the_job_for_one_that_is_over_is_valid_and_has_its_model_and_no_rounds(run, over, labels, selector):
    done = run(over(MemoryStore(), committed(), storage={"s3": S3}), "--round", "0", "-o", "yaml", *labels)
    assert done.exit_code == 0, done.exception
    body = yaml.safe_load(done.stdout)
    assert checked(body)[1] == []
    assert body["metadata"] == {"name": "study-round-0", "namespace": "lab"}
    spec = body["spec"]
    assert (spec["rounds"], spec["seed"], spec["storage"], spec["training"]["batchSize"]) == (0, 7, {"s3": S3}, 16)
    assert spec["clients"] == {"selector": {"matchLabels": selector}}
    assert spec["round"] == {"deadline": "5m"}
    assert not {"strategy", "stop"} & spec.keys()
    assert spec["task"]["initialModel"] == {
        "uri": f"s3://models/hearts/models/lab/study-uid-1/000000-{SHA256}.safetensors?region=eu-1",
        "sha256": SHA256,
        "credentialsSecretRef": {"name": "fedloom-store-s"},
    }


@pytest.mark.parametrize(
    ("round_", "commit", "spec", "words"),
    [
        (0, None, {}, "is on a volume"),
        (
            0,
            committed(
                initial=ObjectRef(key=f"models/lab/study-uid-1/000000-{'0' * 64}.safetensors", sha256="0" * 64, size=5)
            ),
            {"storage": {"s3": S3}},
            "is a part of the whole",
        ),
        (4, committed(), {"storage": {"s3": S3}}, "round 4 is not committed: choose one of 0 to 0"),
        (0, None, {"storage": {"s3": S3}}, "no model is committed yet"),
    ],
)
def test_a_model_that_no_pod_finds_needs_a_place(run, over, round_, commit, spec, words):
    cluster = over(MemoryStore(), commit, **spec)
    failed = run(cluster, "--round", str(round_), "-o", "yaml").exception
    assert isinstance(failed, CommandError)
    assert words in str(failed)
    place = ("--uri", "https://a.example/m", "--sha256", SHA256)
    given = yaml.safe_load(run(cluster, "--round", str(round_), "-o", "yaml", *place).stdout)
    assert checked(given)[1] == []
    assert given["spec"]["task"]["initialModel"] == {"uri": "https://a.example/m", "sha256": SHA256}


def test_a_job_that_is_over_is_not_asked(run):
    cluster = Scripted()
    cluster.job = lambda _: {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    failed = run(cluster, "--round", "3").exception
    assert (isinstance(failed, CommandError), cluster.asked) == (True, [])
    assert "give -o yaml" in str(failed)


@pytest.mark.parametrize(
    "options",
    [
        ["--sites", "a", "-l", "b=c"],
        ["--sites", ","],
        ["-l", "b"],
        ["-l", "=c"],
        ["-o", "yaml", "--uri", "/model"],
        ["--uri", "/model", "--sha256", "0" * 64],
        ["-o", "yaml", "--sites", "a"],
        ["-o", "yaml", "--workdir", "."],
        ["--manifests", "."],
    ],
)
def test_bad_input_is_named(run, options):
    assert isinstance(run(Scripted(), "--round", "3", *options).exception, BadInputError)
