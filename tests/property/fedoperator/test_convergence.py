"""Whatever the spec, the cluster and the moment of the operator's death: a few more passes, and nothing is written."""

import contextlib
import copy

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.flclient import FLClient
from fedapi.outcome import Exit
from fedoperator.decide.decision import Key, Settings
from fedoperator.decide.job import decide
from fedoperator.desired.kinds import JOB_KINDS
from tests.property.fedoperator.fake_api import FakeApi, KilledError
from tests.unit.fedoperator import samples as s

SITES = ("a", "b", "c")
QUANTITY = st.sampled_from(["1", "1000m", "500m", "0.5"])
MEMORY = st.sampled_from(["1Gi", "1024Mi", "2Gi"])
POOLS = st.sampled_from(
    [
        {},
        {"accelerator": "GPU", "resourceName": "nvidia.com/gpu", "count": 2},
        {"nodeSelector": {"zone": "x"}, "tolerations": [{"operator": "Exists"}]},
        {"workers": 3, "minWorkers": 2},
        {"queueName": "gpus"},
        {"accelerator": "TPU", "tpu": {"type": "tpu-v5-lite-podslice", "topology": "4x4"}, "workers": 8},
    ]
)
RESOURCES = st.fixed_dictionaries({"requests": st.fixed_dictionaries({"cpu": QUANTITY, "memory": MEMORY})})
PATCHES = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.just({"team": "t"}),
        "env": st.sampled_from([[{"name": "A", "value": "1"}], [{"name": "B", "value": ""}]]),
        "nodeSelector": st.just({"pool": "p"}),
        "imagePullSecrets": st.just(["r"]),
    },
)
SPECS = st.fixed_dictionaries(
    {"rounds": st.integers(1, 9), "suspend": st.booleans(), "clients": st.sampled_from([{}, {"selector": {"matchLabels": {"in": "1"}}}])},
    optional={
        "training": st.fixed_dictionaries({"lifetime": st.sampled_from(["Job", "Round"])}, optional={"resources": RESOURCES, "podTemplate": PATCHES}),
        "aggregator": st.fixed_dictionaries({}, optional={"resources": RESOURCES, "podTemplate": PATCHES}),
        "priorityClassName": st.just("high"),
        "activeDeadlineSeconds": st.sampled_from([1, 100000]),
    },
)  # fmt: skip
STATES = st.sampled_from(["Waiting", "Training", "Accepted", "Failed", "Idle"])
OUTCOMES = st.sampled_from([None, None, None, ("Succeeded", 5), ("Failed", 500)])
CODES = st.sampled_from([int(Exit.TASK_FAILED), int(Exit.DATA_MISSING), int(Exit.RING_BROKEN), 137, 0])
STEPS = st.sampled_from(["", "3-1", "3-2", "4-1", "20-evaluate"])


def _parsed(spec: s.Json, status: s.Json, generation: int) -> FederatedJob:
    return s.job(status, {"generation": generation}, **spec)


@st.composite
def clients(draw: st.DrawFn) -> dict[str, FLClient]:
    chosen = draw(st.sets(st.sampled_from(SITES)))
    return {
        name: s.site(name, {"in": draw(st.sampled_from("01"))}, pool=draw(POOLS), paused=draw(st.booleans()))
        for name in sorted(chosen)
    }


@st.composite
def aggregator_status(draw: st.DrawFn) -> s.Json:
    if draw(st.booleans()):
        return {}
    states = {name: draw(STATES) for name in SITES}
    status = s.planned(draw(STEPS), *sorted(draw(st.sets(st.sampled_from(SITES)))), **states)
    outcome = draw(OUTCOMES)
    if outcome:
        status["outcome"] = {"result": outcome[0], "reason": "Done", "time": s.ago(outcome[1])}
    return {key: value for key, value in status.items() if key != "startTime"}


def _change(api: FakeApi, draw: st.DrawFn, generation: int) -> None:
    """The user, the sites, the aggregator, the kubelet and somebody with kubectl all act."""
    kept = {"conditions", "phase", "observedGeneration", "startTime", "completionTime", "children", "sites"}
    mine = {k: v for k, v in api.job.status.model_dump(by_alias=True, exclude_none=True).items() if k in kept}
    api.job = _parsed(draw(SPECS), mine | draw(aggregator_status()), generation)
    old = api.clients
    api.clients = draw(clients())
    for name, client in api.clients.items():
        if name in old:
            api.clients[name] = client.model_copy(update={"status": old[name].status})
    api.ready, api.jobset = draw(st.booleans()), draw(st.booleans())
    for key in list(api.children):
        if draw(st.integers(0, 9)) == 0 and key.kind != "PersistentVolumeClaim":
            del api.children[key]
    for key, body in api.children.items():
        if key.kind in JOB_KINDS and draw(st.integers(0, 5)) == 0:
            draw(st.sampled_from([s.failed, s.complete]))(body)
        elif names.LABEL_QUEUE in body["metadata"]["labels"]:
            body["spec"]["suspend"] = draw(st.booleans())
    api.pods = [pod for pod in (_pod(draw, key, body) for key, body in api.children.items()) if pod]


def _pod(draw: st.DrawFn, key: Key, body: s.Json) -> s.Json | None:
    if key.kind not in JOB_KINDS:
        return None
    labels = body["metadata"]["labels"]
    where = (labels[names.LABEL_ROLE], key.name, labels.get(names.LABEL_CLIENT, ""))
    kind = draw(st.sampled_from(["none", "running", "ended", "waiting"]))
    if kind == "ended":
        return s.ended(*where, draw(CODES), "text", name=f"{key.name}-x")
    if kind == "waiting":
        return s.waiting(*where, draw(st.sampled_from(["ErrImagePull", "ContainerCreating"])), name=f"{key.name}-x")
    return s.running(*where, name=f"{key.name}-x") if kind == "running" else None


def _converges(api: FakeApi) -> None:
    """Three writing passes: make, open the gate, report. One more where a Job, or what is left of one, makes room first."""
    deleted, left_over = api.deleted, api.left_over()
    for passes in range(6):
        assert not api.doubled()
        if api.operator_pass() == 0:
            assert passes <= 3 + (left_over or api.deleted > deleted)
            return
    raise AssertionError("never at rest")


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_soon_nothing_is_written(data):
    draw = data.draw
    budgeted = Settings(aggregator_image="img", pod_failures_per_round=draw(st.integers(1, 3)))
    api = FakeApi(_parsed(draw(SPECS), {}, 1), draw(clients()), budgeted, s.NOW)
    for generation in (1, 2, 3):
        for _ in range(draw(st.integers(0, 3))):
            api.budget = draw(st.integers(0, 12))
            with contextlib.suppress(KilledError):
                api.operator_pass()
        api.budget = 10**9
        _converges(api)
        resting = api.observed()
        again = decide(resting, s.NOW)
        assert again == decide(copy.deepcopy(resting), s.NOW)
        assert (again.status, again.events, again.suspend, again.delete) == (None, (), {}, ())
        _change(api, draw, generation + 1)
    _converges(api)
