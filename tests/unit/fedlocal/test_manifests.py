"""Manifests are refused as the API server refuses them: file, object, field, value and way out."""

import copy

import pytest
import yaml

from fedapi import names
from fedlocal.errors import BadInputError
from fedlocal.manifests import load
from fedlocal.validation import checked
from tests.integration.crds import clients
from tests.integration.crds.asynchronous import ASYNCHRONOUS
from tests.integration.crds.hostile import HOSTILE

JOB = {
    "apiVersion": "fedloom.dev/v1alpha1",
    "kind": "FederatedJob",
    "metadata": {"name": "hearts"},
    "spec": {"task": {"entrypoint": "tasks:hearts", "image": "example/task:1"}, "rounds": 3},
}
SITE = {
    "apiVersion": "fedloom.dev/v1alpha1",
    "kind": "FLClient",
    "metadata": {"name": "north"},
    "spec": {"provider": "AWS"},
}
SELECTION = {"key": "a", "operator": "Exists", "values": ["b"]}
TWICE = [{"name": "x", "configMap": {"name": "a"}}, {"name": "x", "configMap": {"name": "b"}}]
NOISE = {"differentialPrivacy": {"mode": "Central", "clipNorm": "1", "targetEpsilon": "8", "delta": "0.00001"}}
COUNTED = NOISE["differentialPrivacy"] | {"adaptiveClipping": {"countNoise": "2"}}


def changed(body, path, value):
    body = copy.deepcopy(body)
    *parents, last = path.split(".")
    inner = body
    for parent in parents:
        inner = inner.setdefault(parent, {})
    if value is None:
        inner.pop(last, None)
    else:
        inner[last] = value
    return body


def refusals(tmp_path, *bodies):
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(bodies))
    with pytest.raises(BadInputError) as refused:
        load(tmp_path)
    return str(refused.value)


@pytest.mark.parametrize(
    ("body", "path", "value", "said"),
    [
        (JOB, "metadata.name", "a.b", "metadata.name is too long or has a dot"),
        (JOB, "metadata.name", "A", "metadata.name: 'A' is not a name"),
        (JOB, "metadata.labels", {"a": True}, "metadata.labels.a: True is not a label value"),
        (JOB, "apiVersion", "fedloom.dev/v1", "apiVersion: is 'fedloom.dev/v1', but must be fedloom.dev/v1alpha1"),
        (JOB, "spec", None, "spec: is missing"),
        (JOB, "spec.rounds", None, "spec.rounds: is required"),
        (JOB, "spec.rounds", "3", "spec.rounds: is '3', but must be an integer: remove the quotes"),
        (JOB, "spec.rounds", -1, "spec.rounds: is -1, but must be at least 0"),
        (JOB, "spec.rounds", 1.5, "spec.rounds: is 1.5, but must be an integer"),
        (JOB, "spec.rounds", 10**9, "spec.rounds: is 1000000000, but must be at most 100000"),
        (JOB, "spec.suspend", "yes", "spec.suspend: is 'yes', but must be true or false, without quotes"),
        (JOB, "spec.privacy", {"secureAggregation": True}, "spec.privacy.secureAggregation: is True, but must be a mapping of fields: write them below it"),
        (JOB, "spec.release", {"approvers": []}, "spec.release.approvers: is [], but needs at least 1: add what is missing"),
        (JOB, "spec.release", {"approvers": "ada"}, "spec.release.approvers: is 'ada', but must be a list: begin each item with '- '"),
        (JOB, "spec.traning", {}, "spec.traning: unknown field, did you mean training?"),
        (JOB, "spec.training.optimizer.lr", "1", "spec.training.optimizer.lr: unknown field"),
        (JOB, "spec.training.optimizer.learningrate", "1", "did you mean learningRate?"),
        (JOB, "spec.training.optimizer", {"learningRate": 0.1}, "learningRate: is 0.1, but must be a string: put it in quotes"),
        (JOB, "spec.task.entrypoint", "no-colon", "spec.task.entrypoint: is 'no-colon', but must match"),
        (JOB, "spec.task.args", {"rate": 0.5}, "spec.task.args.rate: is 0.5, but must be an integer or a string"),
        (JOB, "spec.strategy.name", "FedBest", "spec.strategy.name: is 'FedBest', but must be 'FedAvg', 'FedAvgM', "),
        (JOB, "spec.stop", {"metric": "loss"}, "spec.stop: stop needs target or patience"),
        (JOB, "spec.clients.policy", "Random", "spec.clients: policy Random needs perRound or fraction"),
        (JOB, "spec.clients", {"policy": "Random", "fraction": "1.5"}, "spec.clients.fraction: fraction must be over 0 and at most 1, for example '0.5' (it is '1.5')"),
        (JOB, "spec.clients", {"policy": "Random", "perRound": 1, "minAvailable": 2}, "spec.clients.perRound: perRound is below minAvailable"),
        (JOB, "spec.clients.selector.matchExpressions", [SELECTION], "spec.clients.selector.matchExpressions[0]: values are required with In"),
        (JOB, "spec.round.quorum", "0%", "spec.round.quorum: quorum must be a count of at least 1 or a percentage"),
        (JOB, "spec.round.quorum", 0, "spec.round.quorum: quorum must be a count of at least 1"),
        (JOB, "spec.round.quorum", True, "spec.round.quorum: is True, but must be an integer or a string"),
        (JOB, "spec.round.quorum", "70 percent", "spec.round.quorum: is '70 percent', but must have at most "),
        (JOB, "spec.privacy", NOISE | {"secureAggregation": {}}, "spec.privacy: with differentialPrivacy, mode Distributed needs secureAggregation or homomorphicEncryption"),
        (JOB, "spec.privacy.differentialPrivacy", COUNTED, "set noiseMultiplier and a countNoise over half of it, or remove countNoise"),
        (JOB, "spec.round.deadline", "0s", "spec.round.deadline: must be a duration with its units, longer than zero"),
        (JOB, "spec.round.deadline", "soon", "spec.round.deadline: is 'soon', but must be a duration with its units"),
        (JOB, "spec.round.deadline", 120, "spec.round.deadline: is 120, but must be a duration with its units, longer than zero and at most 8760h (a year), such as 90s"),
        (JOB, "spec.round.deadline", "120", "spec.round.deadline: is '120', but must be a duration with its units"),
        (JOB, "spec.privacy", {"secureAggregation": {"exchangeTimeout": "1ms"}}, "exchangeTimeout must be at least 1s, or no site can answer in time: for example 30s or 2m (it is '1ms')"),
        (JOB, "spec.stop", {"metric": "loss", "target": "high"}, "spec.stop.target: is 'high', but must be a finite number of at most 15 digits before the point and 2 in the exponent, such as 0.01 or 1e-4"),
        (SITE, "spec.pool", {"resources": {"requests": {"cpu": "many"}}}, "requests.cpu: is 'many', but must be a quantity, such as 500m, 2, 1.5G or 4Gi"),
        (SITE, "spec.pool", {"resources": {"requests": {"cpu": 2}}}, "requests.cpu: is 2, but must be a string: put it in quotes"),
        (JOB, "spec.training", {"epochs": 1, "localSteps": 1}, "spec.training: epochs and localSteps exclude each other"),
        (JOB, "spec.training.optimizer", {"learningRate": "0"}, "spec.training.optimizer.learningRate: learningRate must be over 0"),
        (JOB, "spec.training.optimizer", {"name": "Adam", "momentum": "0.9"}, "spec.training.optimizer.momentum: momentum goes with SGD"),
        (JOB, "spec.training.podTemplate.env", [{"name": "FEDLOOM_X", "value": ""}], "names that begin with FEDLOOM_ belong to Fedloom"),
        (SITE, "spec.provider", "aws", "FLClient/north: spec.provider: is 'aws', but must be"),
        (SITE, "spec.pool", {"accelerator": "GPU"}, "spec.pool: accelerator GPU needs resourceName and count"),
        (SITE, "spec.data.volumes", [{"name": "x"}], "spec.data.volumes[0]: a data volume needs persistentVolumeClaim or configMap"),
        (SITE, "spec.data.volumes", TWICE, 'spec.data.volumes[1]: is there twice ({"name": "x"}): keep one'),
    ],
)  # fmt: skip
def test_refused_with_field_value_and_way_out(tmp_path, body, path, value, said):
    text = refusals(tmp_path, changed(body, path, value))
    assert said in text
    assert text.startswith(f"{tmp_path / 'all.yaml'}: ")


def test_everything_wrong_is_told_at_once(tmp_path):
    text = refusals(tmp_path, changed(JOB, "spec.rounds", -1), changed(SITE, "spec.provider", "x"), SITE, SITE)
    assert len(text.splitlines()) == 4
    assert "metadata.name: is there twice" in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: [", "cannot be read as YAML"),
        ("just text", "kind: is missing"),
        ("{kind: List, items: 3}", "kind: is missing"),
        ("{kind: List, items: {a: 1}}", "kind: is missing"),
        ("{apiVersion: fedloom.dev/v1alpha1, kind: FLClient, metadata: []}", "metadata"),
        ("{apiVersion: fedloom.dev/v1alpha1, kind: FederatedJob, metadata: lab}", "metadata"),
        (b"\xff\xfe\x00", "cannot be read as YAML"),
    ],
)
def test_files_that_are_no_manifests(tmp_path, content, said):
    (tmp_path / "bad.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadInputError, match=said):
        load(tmp_path)


def test_a_path_that_is_not_there_and_a_job_that_is_not_there(tmp_path):
    with pytest.raises(BadInputError, match="no such file or folder"):
        load(tmp_path / "nowhere")
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(JOB))
    with pytest.raises(BadInputError, match=r"no FederatedJob other here \(found: hearts\)"):
        load(tmp_path).job("other")


@pytest.mark.parametrize("kind", ["List", "FLClientList"])
def test_defaults_are_filled_in_and_other_kinds_are_noted(tmp_path, kind):
    listed = {"kind": kind, "apiVersion": "v1", "items": [SITE, {"kind": "Namespace", "metadata": {"name": "ns"}}]}
    (tmp_path / "all.yaml").write_text("---\n---\n".join(map(yaml.safe_dump, [JOB, listed])))
    (tmp_path / "README.md").write_text("not a manifest")
    found = load(tmp_path)
    spec = found.jobs[0].body["spec"]
    assert spec["round"] == {"quorum": "100%", "deadline": "1h", "maxFailures": 3}
    assert spec["training"]["optimizer"] == {"name": "SGD", "learningRate": "0.01"}
    assert spec["storage"] == {"history": {"keep": "All"}}
    assert [document.body["metadata"]["name"] for document in found.clients] == ["north"]
    assert "Namespace/ns: ignored" in found.notes[0]


@pytest.mark.parametrize("case", [*HOSTILE, *clients.CLIENTS], ids=lambda case: f"{case[1]}={case[3]!r}"[:80])
def test_what_an_author_must_not_reach_is_refused_as_by_the_api_server(case):
    kind, path, good, bad, words = case
    judged(JOB if kind == names.JOB_KIND else SITE, path, good, bad, words)


@pytest.mark.parametrize(
    ("drawn", "case"),
    [(clients.DRAWN, case) for case in clients.OVER]
    + [({"policy": "Poisson", "fraction": "0.5"}, case) for case in clients.POISSON],
)
def test_rounds_of_jobs_that_draw_their_sites(drawn, case):
    judged(changed(JOB, "spec.clients", drawn), *case)


@pytest.mark.parametrize("case", ASYNCHRONOUS, ids=lambda case: f"{case[0]}={case[2]!r}"[-80:])
def test_what_asynchronous_rounds_go_with(case):
    judged(JOB, *case)


def judged(body, path, good, bad, words):
    assert checked(changed(body, path, good))[1] == []
    said = "; ".join(f"{where}: {what}" for where, what in checked(changed(body, path, bad))[1])
    assert said
    assert not said.count("Value error")
    assert [word for word in words if " " in word and word not in said] == []
