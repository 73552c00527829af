"""Every rule of the custom resources, both ways, judged by a real API server: accepted, or refused in words that help."""

import copy
import json
from functools import partial

import pytest

from fedapi import names
from fedapi.crd.manifest import definitions
from fedcli.cluster import connect
from fedcli.evaluate import request
from fedoperator.errors import RefusedError
from tests.integration.crds import clients, confidential, identities, privacy, queues, release
from tests.integration.crds.homomorphicencryption import ENCRYPTED_SPEC, FIXED_ENCRYPTED
from tests.integration.crds.hostile import HOSTILE
from tests.integration.crds.pools import POOLS, TRAINING
from tests.integration.crds.privacy import FIXED_PRIVACY, PRIVATE_SPEC
from tests.integration.crds.secureaggregation import FIXED_SECURE, SECURE_SPEC
from tests.integration.crds.stores import BUCKETS, FIXED, MAY_CHANGE, SOURCE, STORES
from tests.integration.crds.strategies import OWN, OWN_NAME, STRATEGIES
from tests.integration.fedoperator.kit import job, site

pytestmark = pytest.mark.apiserver

NAMESPACE = "default"


def changed(body, path, value):
    """The body with the value at a dotted path; None removes it."""
    body, parts = copy.deepcopy(body), path.split(".")
    node = body
    for part in parts[:-1]:
        node = node[int(part)] if part.isdigit() else node.setdefault(part, {})
    if value is None:
        node.pop(parts[-1], None)
    else:
        node[parts[-1]] = value
    return body


JOB, SITE = job(NAMESPACE, "table"), site(NAMESPACE, "table")

# (base, path, value that is accepted, value that is refused, words of the refusal)
TABLE = [
    # Names.
    (JOB, "metadata.name", "a" * 52, "a" * 53, ["metadata.name is too long", "at most 52 characters"]),
    (JOB, "metadata.name", "a-b", "a.b", ["metadata.name", "has a dot"]),
    (SITE, "metadata.name", "a" * 63, "a" * 64, ["metadata.name is too long", "at most 63 characters"]),
    # FederatedJob.
    (JOB, "spec.task.entrypoint", "a.b:c", "a.b.c", ["spec.task.entrypoint", "a.b.c"]),
    (JOB, "spec.task.image", "i", "", ["spec.task.image"]),
    (
        JOB,
        "spec.task.imagePullPolicy",
        "Never",
        "Sometimes",
        ["spec.task.imagePullPolicy", "Sometimes", "IfNotPresent"],
    ),
    (JOB, "spec.task.args", {"n": 3, "s": "x"}, {"n": 1.5}, ["spec.task.args.n"]),
    (JOB, "spec.task.args", {str(n): n for n in range(32)}, {str(n): n for n in range(33)}, ["spec.task.args", "32"]),
    (JOB, "spec.rounds", 0, -1, ["spec.rounds", "greater than or equal to 0"]),
    (JOB, "spec.rounds", 100000, 100001, ["spec.rounds", "100000"]),
    (JOB, "spec.rounds", 3, "three", ["spec.rounds", "integer"]),
    (JOB, "spec.rollbackTo", {"round": 3, "id": "x" * 63}, {"round": 3, "id": "x" * 64}, ["spec.rollbackTo.id", "63"]),
    (JOB, "spec.rollbackTo", {"round": 0}, {"round": -1}, ["spec.rollbackTo.round", "greater than or equal to 0"]),
    (JOB, "spec.seed", 2**53 - 1, 2**53, ["spec.seed"]),
    (JOB, "spec.seed", 0, -1, ["spec.seed"]),
    (
        JOB,
        "spec.stop",
        {"metric": "accuracy", "target": "0.9"},
        {"metric": "accuracy"},
        ["spec.stop", "target or patience"],
    ),
    (JOB, "spec.stop", {"metric": "a", "patience": 3}, {"metric": "a", "target": "high"}, ["spec.stop.target", "high"]),
    (JOB, "spec.strategy.name", "FedAvg", "FedMagic", ["spec.strategy.name", "FedMagic"]),
    (
        JOB,
        "spec.strategy",
        {"name": "FedAvgM", "fedAvgM": {}},
        {"name": "FedAvgM"},
        ["spec.strategy.fedAvgM", "strategy FedAvgM needs fedAvgM, and no other takes it"],
    ),
    (JOB, "spec.strategy", {"name": "FedAvg"}, {"name": "FedAvg", "fedAvgM": {}}, ["no other takes it"]),
    (
        JOB,
        "spec.strategy",
        {"name": "FedAvgM", "fedAvgM": {"momentum": "0"}},
        {"name": "FedAvgM", "fedAvgM": {"momentum": "1"}},
        ["spec.strategy.fedAvgM.momentum", "momentum must be from 0 and below 1"],
    ),
    (
        JOB,
        "spec.strategy",
        {"name": "FedAvgM", "fedAvgM": {"learningRate": "0.5"}},
        {"name": "FedAvgM", "fedAvgM": {"learningRate": "0"}},
        ["spec.strategy.fedAvgM.learningRate", "the server's learningRate must be over 0"],
    ),
    (JOB, "spec.compression.codec", "Int8", "Zstd", ["spec.compression.codec", "Zstd", "Float16"]),
    (
        JOB,
        "spec.compression.download",
        {"codec": "Int8"},
        {"codec": "Zstd"},
        ["spec.compression.download.codec", "Zstd", "Float16"],
    ),
    (
        JOB,
        "spec.compression.download",
        {"codec": "Int4", "delta": True},
        {"codec": "Int4"},
        ["spec.compression.download.codec", "codecs Int4 and TopK are of changes"],
    ),
    (
        JOB,
        "spec.compression.download",
        {"codec": "TopK", "topK": {}, "delta": True},
        {"codec": "TopK", "delta": True},
        ["spec.compression.download.topK", "codec TopK needs topK"],
    ),
    (JOB, "spec.compression.download", {"codec": "BFloat16"}, {}, ["spec.compression.download.codec", "Required"]),
    (
        JOB,
        "spec.compression",
        {"codec": "TopK", "topK": {}},
        {"codec": "TopK"},
        ["spec.compression.topK", "codec TopK needs topK, and no other takes it: write topK: {}"],
    ),
    (JOB, "spec.compression", {"codec": "Int4"}, {"codec": "Int4", "topK": {}}, ["no other takes it"]),
    (
        JOB,
        "spec.compression",
        {"codec": "TopK", "topK": {"fraction": "0.5"}},
        {"codec": "TopK", "topK": {"fraction": "0.51"}},
        ["spec.compression.topK.fraction", "over 0 and at most 0.5", "'0.01'"],
    ),
    (
        JOB,
        "spec.compression",
        {"codec": "TopK", "topK": {"fraction": "1e-4"}},
        {"codec": "TopK", "topK": {"fraction": "0"}},
        ["spec.compression.topK.fraction", "over 0"],
    ),
    (
        JOB,
        "spec.compression",
        {"codec": "Int8", "errorFeedback": True},
        {"errorFeedback": True},
        ["spec.compression.errorFeedback", "goes with a codec", "set compression.codec, or remove it"],
    ),
    (
        JOB,
        "spec.clients",
        {"policy": "Random", "perRound": 2},
        {"policy": "Random"},
        ["spec.clients", "policy Random needs perRound or fraction", "one of them"],
    ),
    (
        JOB,
        "spec.clients",
        {"policy": "Random", "fraction": "0.5"},
        {"policy": "Random", "fraction": "0.5", "perRound": 2},
        ["spec.clients", "one of them"],
    ),
    (JOB, "spec.clients", {"policy": "All"}, {"perRound": 2}, ["spec.clients", "policy All takes neither"]),
    (
        JOB,
        "spec.clients",
        {"policy": "Random", "fraction": "1"},
        {"policy": "Random", "fraction": "1.1"},
        ["spec.clients.fraction", "over 0 and at most 1", "'0.5'"],
    ),
    (
        JOB,
        "spec.clients",
        {"policy": "Random", "fraction": "1e-3"},
        {"policy": "Random", "fraction": "0"},
        ["spec.clients.fraction", "over 0"],
    ),
    (
        JOB,
        "spec.clients",
        {"policy": "Random", "perRound": 3, "minAvailable": 3},
        {"policy": "Random", "perRound": 2, "minAvailable": 3},
        ["spec.clients.perRound", "raise perRound or lower minAvailable"],
    ),
    (
        JOB,
        "spec.clients.selector.matchExpressions",
        [{"key": "tier", "operator": "In", "values": ["gold"]}, {"key": "old", "operator": "DoesNotExist"}],
        [{"key": "tier", "operator": "In"}],
        ["matchExpressions[0]", "values are required with In and NotIn"],
    ),
    (
        JOB,
        "spec.clients.selector.matchExpressions",
        [{"key": "tier", "operator": "Exists"}],
        [{"key": "tier", "operator": "Exists", "values": ["x"]}],
        ["matchExpressions[0]", "absent with Exists"],
    ),
    (JOB, "spec.round.quorum", 3, 0, ["spec.round.quorum", "count of at least 1"]),
    (JOB, "spec.round.quorum", "60%", "60", ["spec.round.quorum", "percentage from 1% to 100%"]),
    (JOB, "spec.round.quorum", "100%", "101%", ["spec.round.quorum", "percentage from 1% to 100%"]),
    (
        JOB,
        "spec",
        JOB["spec"] | {"round": {"quorum": 2}, "clients": {"policy": "Random", "perRound": 2}},
        JOB["spec"] | {"round": {"quorum": 3}, "clients": {"policy": "Random", "perRound": 2}},
        ["spec.round.quorum", "round.quorum is above clients.perRound", "lower round.quorum"],
    ),
    (
        JOB,
        "spec",
        JOB["spec"] | {"round": {"quorum": "100%"}, "clients": {"policy": "Random", "perRound": 1}},
        JOB["spec"] | {"round": {"quorum": 2}, "clients": {"policy": "Random", "perRound": 1}},
        ["spec.round.quorum"],
    ),
    (JOB, "spec.round.deadline", "1h30m", "soon", ["spec.round.deadline", "soon", "must be a duration with its units"]),
    (JOB, "spec.round.deadline", "120s", "120", ["spec.round.deadline", "such as 90s, 10m or 1h30m"]),
    (JOB, "spec.training.sharedMemory", "1.5Gi", "big", ["spec.training.sharedMemory", "such as 500m, 2, 1.5G or 4Gi"]),
    (JOB, "spec.round.deadline", "500ms", "0s", ["spec.round.deadline", "longer than zero", "10m"]),
    (JOB, "spec.round.graceAfterQuorum", "30s", "0m", ["spec.round.graceAfterQuorum", "longer than zero"]),
    (JOB, "spec.round.maxFailures", 0, -1, ["spec.round.maxFailures"]),
    (JOB, "spec.clients.maxSamples", 1, 0, ["spec.clients.maxSamples"]),
    (JOB, "spec.clients.certificates", "Required", "Always", ["spec.clients.certificates", "Optional"]),
    (JOB, "spec.clients.maxSamples", 1 << 40, (1 << 40) + 1, ["spec.clients.maxSamples"]),
    (
        JOB,
        "spec.training",
        {"localSteps": 5},
        {"localSteps": 5, "epochs": 1},
        ["spec.training", "exclude each other", "keep one"],
    ),
    (
        JOB,
        "spec.training",
        {"exchange": ["adapter.*"], "localParameters": ["head.*"]},
        {"exchange": ["adapter.*", "head.*"], "localParameters": ["head.*"]},
        ["spec.training.localParameters", "a name is in exchange and in localParameters", "take it out of one"],
    ),
    (JOB, "spec.training.batchSize", 1, 0, ["spec.training.batchSize"]),
    (JOB, "spec.training.optimizer", {"learningRate": "1e-4"}, {"learningRate": "0"}, ["learningRate must be over 0"]),
    (
        JOB,
        "spec.training.optimizer",
        {"name": "SGD", "momentum": "0.9"},
        {"name": "Adam", "momentum": "0.9"},
        ["spec.training.optimizer.momentum", "remove it or use SGD"],
    ),
    (
        JOB,
        "spec.training.podTemplate.env",
        [{"name": "HTTP_PROXY", "value": "http://proxy"}],
        [{"name": "FEDLOOM_TOKEN", "value": "x"}],
        ["env[0].name", "but for FEDLOOM_THREADS, FEDLOOM_PATIENCE_S", "choose another name"],
    ),
    (
        JOB,
        "spec.aggregator.podTemplate.env",
        [{"name": name, "value": "9"} for name in names.TUNABLE],
        [{"name": "FEDLOOM_THREADS_", "value": "9"}],
        ["env[0].name", "the aggregator takes"],
    ),
    (JOB, "spec.training.resources.requests", {"cpu": "500m"}, {"cpu": "lots"}, ["requests.cpu", "lots"]),
    (JOB, "spec.storage.volume.size", "2Gi", "big", ["spec.storage.volume.size", "big"]),
    (JOB, "spec.storage.history.keep", "All", "Best", ["spec.storage.history.keep", "keep must be All or a count"]),
    (JOB, "spec.storage.history.keep", 1, 0, ["spec.storage.history.keep", "keep must be All or a count"]),
    (JOB, "spec.storage.history.keep", 100000, 100001, ["keep must be a count of at most 100000, or All"]),
    (JOB, "spec.storage.history.keep", 5, "5", ["keep must be All or a count"]),
    (JOB, "spec.storage.volume.whenDeleted", "Delete", "Shred", ["whenDeleted", "Shred"]),
    (JOB, "spec.ttlSecondsAfterFinished", 0, -1, ["spec.ttlSecondsAfterFinished"]),
    (JOB, "spec.activeDeadlineSeconds", 1, 0, ["spec.activeDeadlineSeconds"]),
    (JOB, "spec.pendingDeadline", "5m", "0s", ["spec.pendingDeadline", "longer than zero"]),
    (JOB, "spec.managedBy", "example.com/other", "x" * 64, ["spec.managedBy", "63"]),
    (JOB, "spec.task.image", "i", None, ["spec.task.image", "Required value"]),
    # FLClient.
    (SITE, "spec.provider", "OnPremises", "Basement", ["spec.provider", "Basement", "OnPremises"]),
    (SITE, "spec.placement.mode", "Local", "Moon", ["spec.placement.mode", "Moon"]),
    (
        SITE,
        "spec.data.volumes",
        [{"name": "rows", "configMap": {"name": "rows"}}],
        [{"name": "rows"}],
        ["spec.data.volumes[0]", "persistentVolumeClaim or configMap, one of them"],
    ),
    (
        SITE,
        "spec.data.volumes",
        [{"name": "rows", "persistentVolumeClaim": {"claimName": "rows"}}],
        [{"name": "rows", "configMap": {"name": "r"}, "persistentVolumeClaim": {"claimName": "r"}}],
        ["spec.data.volumes[0]", "one of them"],
    ),
    (
        SITE,
        "spec.data.volumes",
        [{"name": "a", "configMap": {"name": "r"}}, {"name": "b", "configMap": {"name": "r"}}],
        [{"name": "a", "configMap": {"name": "r"}}, {"name": "a", "configMap": {"name": "s"}}],
        ["spec.data.volumes[1]", "Duplicate value"],
    ),
    (
        SITE,
        "spec.data.env",
        [{"name": "FEDLOOM_THREADS", "value": "2"}],
        [{"name": "FEDLOOM_SEED", "value": "1"}],
        ["spec.data.env[0].name", "choose another name"],
    ),
    (SITE, "spec.state", {"persistentVolumeClaim": {"claimName": "s"}}, {"persistentVolumeClaim": {}}, ["claimName"]),
    *((SITE, "spec.pool", *case) for case in POOLS),
    *((JOB, path, *case) for path, *case in TRAINING),
    *((JOB, path, *case) for path, *case in STORES),
    *((JOB, *case) for case in STRATEGIES),
    *((JOB, *case) for case in (*queues.OF_JOBS, *release.OF_JOBS, *confidential.OF_JOBS)),
    *((SITE, *case) for case in (*queues.OF_SITES, *identities.OF_SITES, *confidential.OF_SITES, *privacy.OF_SITES)),
    *((JOB if kind == names.JOB_KIND else SITE, *case) for kind, *case in (*HOSTILE, *clients.CLIENTS)),
    *((changed(JOB, "spec.clients", clients.DRAWN), *case) for case in clients.OVER),
    *((changed(JOB, "spec.evaluation", {"request": {"round": 1}}), *case) for case in clients.OF_ROUNDS),
    *((changed(JOB, "spec.clients", {"policy": "Poisson", "fraction": "0.5"}), *case) for case in clients.POISSON),
]


def asked(api, body, *, method="POST", **query):
    """What the API server makes of an object, without keeping it."""
    plural = names.JOB_PLURAL if body["kind"] == names.JOB_KIND else names.CLIENT_PLURAL
    path = f"/apis/{names.API_VERSION}/namespaces/{NAMESPACE}/{plural}"
    return api.connection.request(method, path, body, query={"dryRun": "All", "fieldValidation": "Strict"} | query)


def label(case):
    base, path, _, bad, _ = case
    return f"{base['kind']}.{path}={json.dumps(bad)[:40]}"


@pytest.mark.parametrize("case", TABLE, ids=label)
def test_accepted_and_refused(api, case):
    base, path, good, bad, words = case
    asked(api, changed(base, path, good))
    with pytest.raises(RefusedError) as refused:
        asked(api, changed(base, path, bad))
    assert refused.value.status == 422
    missing = [word for word in words if word not in str(refused.value)]
    assert missing == [], str(refused.value)


@pytest.mark.parametrize(
    ("base", "path"),
    [
        (JOB, "spec.turbo"),
        (JOB, "spec.task.turbo"),
        (JOB, "spec.backup.destination.s3.conditionalWrites"),  # of a job's store alone
        (SITE, "spec.turbo"),
        (SITE, "spec.pool.turbo"),
    ],
)
def test_unknown_fields_are_named(api, base, path):
    with pytest.raises(RefusedError, match=path.replace(".", r"\.")):
        asked(api, changed(base, path, 1))


OTHERS = changed(JOB, "spec.managedBy", "example.com/other")  # no operator acts on it
TRAVELS = {"exchange": ["adapter.*"], "localParameters": ["head.*"]}
NARROW = [{"selector": {"matchLabels": {"size": "small"}}, "modelWidth": "0.5"}]
FULL_JOB = changed(changed(OTHERS, "metadata.name", "kept"), "spec.training", TRAVELS)
FULL_JOB = changed(FULL_JOB, "spec.clients.overrides", NARROW)
FULL_JOB = changed(FULL_JOB, "spec.release", release.RELEASE)

IMMUTABLE = [
    ("spec.task.entrypoint", "other:task", "task cannot change"),
    ("spec.task.args", {"n": 4}, "task cannot change"),
    ("spec.seed", 8, "seed cannot change"),
    *release.IMMUTABLE,
    ("spec.rounds", 0, "whether rounds is 0 cannot change"),
    ("spec.storage.volume.size", "20Gi", "storage.volume cannot change"),
    ("spec.strategy", {"name": "FedAvgM", "fedAvgM": {}}, "strategy.name cannot change"),
    ("spec.managedBy", "example.com/third", "managedBy cannot change"),
    ("spec.training.exchange", ["*"], "training.exchange cannot change"),
    ("spec.training.localParameters", ["norm.*"], "training.localParameters cannot change"),
    ("spec.training.localParameters", None, "training.exchange and training.localParameters cannot change"),
    (
        "spec.clients.overrides",
        [*NARROW, {"selector": {}, "modelWidth": "0.25"}],
        "a new modelWidth cannot be asked for",
    ),
]
MUTABLE = [
    ("spec.rounds", 9),
    ("spec.suspend", True),
    ("spec.release.approvals", [release.APPROVAL]),
    ("spec.rollbackTo", {"round": 1, "id": "bad data"}),
    ("spec.training.epochs", 2),
    ("spec.round.deadline", "2h"),
    ("spec.clients.minAvailable", 2),
    ("spec.clients.overrides", [{"selector": {}, "modelWidth": "0.50", "batchSize": 4}]),
    ("spec.clients.maxSamples", 5000),
    ("spec.clients.certificates", "Required"),
    ("spec.evaluation", {"heldOut": {"selector": {"matchLabels": {"role": "validation"}}, "everyRounds": 5}}),
    ("spec.ttlSecondsAfterFinished", 60),
    ("spec.storage.history.keep", 3),
]


@pytest.fixture(scope="module")
def kept(api):
    """A job that no operator acts on."""
    body = api.create(FULL_JOB)
    yield body
    api.delete("FederatedJob", NAMESPACE, "kept")


def test_a_request_of_the_command_line_takes_the_place_of_the_one_before(api):
    api.create(changed(FULL_JOB, "metadata.name", "asked"))
    cluster = connect(api.cluster.kubeconfig, None, NAMESPACE)
    for sites, selector in (("a, b", None), (None, "role=validation,tier=1"), (None, None)):
        asked = request(2, sites, selector, "x")
        cluster.patch_job("asked", {"spec": {"evaluation": {"request": asked}}})
        found = cluster.job("asked")["spec"]["evaluation"]["request"]
        assert found == {name: value for name, value in asked.items() if value is not None}
    api.delete("FederatedJob", NAMESPACE, "asked")


def updated(api, kept, path, value):
    where = f"/apis/{names.API_VERSION}/namespaces/{NAMESPACE}/{names.JOB_PLURAL}/{kept['metadata']['name']}"
    return api.connection.request("PUT", where, changed(kept, path, value), query={"dryRun": "All"})


@pytest.mark.parametrize(("path", "value", "words"), IMMUTABLE)
def test_identity_cannot_change(api, kept, path, value, words):
    with pytest.raises(RefusedError, match=f"{words} after creation: delete the job and create it anew"):
        updated(api, kept, path, value)


@pytest.mark.parametrize(("path", "value", "words"), FIXED_PRIVACY)
def test_what_an_epsilon_is_of_cannot_change(api, path, value, words):
    body = api.create(job(NAMESPACE, "private", **PRIVATE_SPEC))
    try:
        with pytest.raises(RefusedError, match=f"{words} after creation"):
            updated(api, body, path, value)
        raised = updated(api, body, "spec.privacy.differentialPrivacy.targetEpsilon", "3")
        assert raised["spec"]["privacy"]["differentialPrivacy"]["targetEpsilon"] == "3"
    finally:
        api.delete("FederatedJob", NAMESPACE, "private")


@pytest.mark.parametrize(
    ("spec", "path", "value", "words"),
    [(SECURE_SPEC, *case) for case in FIXED_SECURE] + [(ENCRYPTED_SPEC, *case) for case in FIXED_ENCRYPTED],
)
def test_what_sites_were_promised_cannot_change(api, spec, path, value, words):
    (name,) = spec["privacy"]
    body = api.create(job(NAMESPACE, "masked", **spec))
    try:
        with pytest.raises(RefusedError, match=f"{words} after creation"):
            updated(api, body, path, value)
        raised = updated(api, body, f"spec.privacy.{name}.valueRange", "3")
        assert raised["spec"]["privacy"][name]["valueRange"] == "3"
    finally:
        api.delete("FederatedJob", NAMESPACE, "masked")


def in_bucket(path):
    """A job with storage in the bucket that the path is about (azure where it is about none), made from a backup, by a strategy of its own."""
    cloud = next((cloud for cloud in BUCKETS if f".{cloud}." in path), "azure")
    spec = {"storage": {cloud: BUCKETS[cloud]}, "restoreFrom": SOURCE, "strategy": OWN}
    return changed(changed(OTHERS, "metadata.name", f"in-{cloud}"), "spec", OTHERS["spec"] | spec)


@pytest.fixture(scope="module")
def bucketed(api):
    made = {cloud: api.create(in_bucket(f".{cloud}.")) for cloud in BUCKETS}
    yield lambda path: made[in_bucket(path)["metadata"]["name"].removeprefix("in-")]
    for cloud in made:
        api.delete("FederatedJob", NAMESPACE, f"in-{cloud}")


@pytest.mark.parametrize(("path", "value", "words"), [*FIXED, OWN_NAME])
def test_where_objects_are_cannot_change(api, bucketed, path, value, words):
    with pytest.raises(RefusedError, match=f"{words} after creation: delete the job and create it anew"):
        updated(api, bucketed(path), path, value)


@pytest.mark.parametrize(("path", "value"), MAY_CHANGE)
def test_keys_and_identities_may_change(api, bucketed, path, value):
    found = updated(api, bucketed(path), path, value)
    for part in path.split("."):
        found = found[part]
    assert found == value or found.items() >= value.items()


def test_a_volume_that_was_written_out_may_be_left_out(api, kept):
    """Earlier versions wrote the default into the stored object; a replace from the manifest lacks it."""
    written_out = updated(api, kept, "spec.storage.volume", {"size": "10Gi", "whenDeleted": "Retain"})
    assert written_out["spec"]["storage"]["volume"]["size"] == "10Gi"


@pytest.mark.parametrize(("before", "after", "words"), identities.CHANGES)
def test_keys_of_a_site_come_and_go_and_a_revocation_stays(api, before, after, words):
    body = api.create(changed(changed(SITE, "metadata.name", "keyed"), "spec.identity", before))
    path = f"/apis/{names.API_VERSION}/namespaces/{NAMESPACE}/{names.CLIENT_PLURAL}/keyed"
    try:
        put = partial(
            api.connection.request, "PUT", path, changed(body, "spec.identity", after), query={"dryRun": "All"}
        )
        if words:
            with pytest.raises(RefusedError, match=words):
                put()
        else:
            put()
    finally:
        api.delete("FLClient", NAMESPACE, "keyed")


@pytest.mark.parametrize(("path", "value"), MUTABLE)
def test_everything_else_may_change(api, kept, path, value):
    found = updated(api, kept, path, value)
    for part in path.split("."):
        found = found[part]
    assert found == value


def test_defaults_are_filled_in(api):
    spec = asked(api, JOB)["spec"]
    assert spec["seed"] == 0
    assert spec["strategy"] == {"name": "FedAvg"}
    assert spec["clients"] == {
        "policy": "All",
        "minAvailable": 1,
        "maxSamples": 10**9,
        "certificates": "Optional",
        "selector": {},
    }
    assert spec["round"] == {"quorum": "100%", "deadline": "1h", "maxFailures": 3}
    assert spec["training"] == {
        "lifetime": "Job", "batchSize": 32, "batchPer": "Site", "gradientAccumulationSteps": 1, "mixedPrecision": "None",
        "learningRateScaling": "None", "warmupSteps": 0, "checkpointEvery": "10s",
        "determinism": "Strict", "optimizer": {"name": "SGD", "learningRate": "0.01"},
    }  # fmt: skip
    assert spec["storage"] == {"history": {"keep": "All"}}
    assert (spec["suspend"], spec["pendingDeadline"], spec["managedBy"]) == (False, "10m", "fedloom.dev/operator")
    client = asked(api, SITE)["spec"]
    assert client["pool"] == {"accelerator": "CPU", "backend": "Auto", "spot": False}
    assert (client["placement"], client["paused"]) == ({"mode": "Local"}, False)


def messages(node):
    """The words of every CEL rule in a schema."""
    yield from (rule["message"] for rule in node.get("x-kubernetes-validations", ()))
    for child in [*node.get("properties", {}).values(), node.get("items"), node.get("additionalProperties")]:
        if isinstance(child, dict):
            yield from messages(child)


def test_every_rule_is_in_the_table():
    """A rule whose words no case of this page quotes is a rule that nobody has seen at work."""
    schemas = [crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for crd in definitions().values()]
    quotes = {word for case in TABLE for word in case[4] if " " in word} | {
        words
        for *_, words in (
            *IMMUTABLE,
            *FIXED,
            *FIXED_PRIVACY,
            *FIXED_SECURE,
            *FIXED_ENCRYPTED,
            OWN_NAME,
            *(case for case in identities.CHANGES if case[-1]),
        )
    }
    told = {message for schema in schemas for message in messages(schema)}
    unseen = {message for message in told if not any(quote in message for quote in quotes)}
    assert unseen == set()


def test_columns_and_short_names(api):
    api.create(changed(SITE, "metadata.name", "shown"))
    try:
        table = api.cluster.kubectl("get", "flc", "shown", "-n", NAMESPACE)
        assert table.split()[:6] == ["NAME", "PROVIDER", "REGION", "ACCELERATOR", "READY", "ACTIVE"]
        everything = api.cluster.kubectl("get", "federated", "-n", NAMESPACE)
        assert "flclient.fedloom.dev/shown" in everything
        assert "metadata.generation" not in api.cluster.kubectl("explain", "fj.spec.round.quorum")
        assert "percentage" in api.cluster.kubectl("explain", "fj.spec.round.quorum")
    finally:
        api.delete("FLClient", NAMESPACE, "shown")
