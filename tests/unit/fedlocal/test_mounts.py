"""Container paths become folders of this machine."""

from pathlib import Path

import pytest

from fedapi import names
from fedlocal import mounts
from fedlocal.devices import Machine
from fedlocal.localnode import Node
from fedlocal.statefolder import StateFolder


def pod(env):
    volumes = [
        {"name": "config", "configMap": {"name": "c"}},
        {"name": "credentials", "secret": {"secretName": "s"}},
        {"name": "store", "persistentVolumeClaim": {"claimName": "store"}},
        {"name": "rows", "persistentVolumeClaim": {"claimName": "rows"}},
        {"name": "small", "configMap": {"name": "small"}},
        {"name": "tmp", "emptyDir": {}},
    ]
    paths = {
        "config": names.PATH_CONFIG,
        "credentials": names.PATH_CREDENTIALS,
        "store": names.PATH_STORE,
        "rows": "/data/rows",
        "small": "/data/small",
        "tmp": "/tmp",
    }
    container = {
        "volumeMounts": [
            {"name": n, "mountPath": p} | ({"subPath": "in"} if n == "store" else {}) for n, p in paths.items()
        ],
        "env": [{"name": name, "value": value} for name, value in env.items()],
    }
    return {"metadata": {"name": "p"}, "spec": {"containers": [container], "volumes": volumes}}


@pytest.fixture
def places(tmp_path):
    return mounts.Places(StateFolder(tmp_path / "state"), tmp_path / "here", frozenset({"small"}))


@pytest.mark.parametrize(
    ("value", "below_root"),
    [
        (names.PATH_STORE, True),
        (f"{names.PATH_STORE}/incoming/u", True),
        (names.PATH_DATA, True),
        ("/data/rows", True),
        ("/tmp", True),
        (names.PATH_TERMINATION_LOG, True),
        ("/", False),
        ("/datasets", False),
        ("/usr/bin:/bin", False),
        ("kubernetes", False),
        ("https://host/data", False),
    ],
)
def test_values_that_name_mounts_are_moved_below_the_root(value, below_root):
    root = Path("/somewhere/root")
    seen = mounts.environment(pod({"X": value}), root)["X"]
    assert seen == (f"{root}{value}" if below_root else value)


def test_a_process_gets_what_may_be_tuned_from_the_manifest_or_the_runners_environment(places, tmp_path, monkeypatch):
    for name in (*names.TUNABLE, names.ENV_JOB_UID, "FEDLOOM_CACHE", "LANG"):
        monkeypatch.setenv(name, "runner's")
    node = Node(places, 1, {names.ENV_PORT: "1"})
    seen = node.environment(pod({"FEDLOOM_POLL_S": "pod's", names.ENV_PORT: "8443"}), Path("/root"))
    mine = {name: value for name, value in seen.items() if name.startswith("FEDLOOM_")}
    assert mine == dict.fromkeys(names.TUNABLE, "runner's") | {
        "FEDLOOM_POLL_S": "pod's",
        names.ENV_PORT: "1",
        names.ENV_TASK_PATH: str(tmp_path / "here"),
    }
    assert seen["LANG"] == "runner's"


def test_mounts_are_links_to_where_the_volumes_are(places, tmp_path):
    assert mounts.missing_data(pod({}), places) == [
        ("/data/rows", tmp_path / "here/volumes/rows"),
        ("/data/small", tmp_path / "state/configmaps/small"),
    ]
    (tmp_path / "here/volumes/rows").mkdir(parents=True)
    (tmp_path / "here/volumes/rows/file").write_text("rows")
    root = mounts.prepare(pod({}), places)
    assert (root / "data/rows/file").read_text() == "rows"
    (mounts.below(root, names.PATH_STORE) / "x").write_text("kept")
    assert (tmp_path / "state/claims/store/in/x").read_text() == "kept"
    (mounts.below(root, names.PATH_TERMINATION_LOG)).write_text("why\n")
    assert mounts.termination_message(root) == "why"
    mounts.below(root, names.PATH_TERMINATION_LOG).write_text("x" * 5000 + "end")
    assert mounts.termination_message(root) == "x" * 4093 + "end"
    assert mounts.termination_message(mounts.prepare(pod({}), places)) == ""
    assert (tmp_path / "state/claims/store/in/x").read_text() == "kept"


FIELDS = {
    "A": "status.podIP",
    "B": "metadata.name",
    "C": "metadata.labels['l']",
    "D": "metadata.labels['other']",
    "E": "spec.nodeName",
}


def ring_pod(uid):
    made = pod({names.ENV_RING_PORT: str(names.RING_PORT), names.ENV_RING_LEADER: "a-0.ring.n.svc.cluster.local"})
    made["metadata"] |= {"labels": {"l": "v"}, "ownerReferences": [{"uid": uid}]}
    env = made["spec"]["containers"][0]["env"]
    env += [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in FIELDS.items()]
    return made


def test_workers_of_a_ring_meet_on_this_machine_at_a_port_of_their_job(places):
    node = Node.of(places, Machine())
    first, again, other = (node.environment(ring_pod(uid), Path("/root")) for uid in ("u", "u", "v"))
    assert {name: first[name] for name in FIELDS} == {"A": "127.0.0.1", "B": "p", "C": "v", "D": "", "E": ""}
    assert first[names.ENV_RING_LEADER] == "127.0.0.1"
    assert first[names.ENV_RING_PORT] == again[names.ENV_RING_PORT] != other[names.ENV_RING_PORT]
    assert names.ENV_RING_PORT not in node.environment(pod({}), Path("/root"))
