"""Faults of rings on the real cluster: workers killed, pods deleted, an image without what joins the ranks."""

from pathlib import Path

import pytest

from tests.e2e.world import commits, held, job, site
from tools import deploy

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
ROUNDS = 3
RING = {"pool": {"workers": 2, "collective": "Horovod"}}
RINGS = [site("north", **RING), site("south", **RING)]
BARE = Path(__file__).parents[2] / "e2e" / "no_horovod"


def test_workers_killed_in_mid_round(world, platform, embedded_digest):
    """A worker of one site, worker 0 of the other, in one round: both rings join again, and every update counts once."""
    with held() as args:
        world.apply([*RINGS, job(args=args, rounds=ROUNDS)])
        uid = world.get("fj", "paced")["metadata"]["uid"]
        world.wait("round 2", lambda: world.in_round("paced", 2))
        world.kill("fedtrainer", uid, "north", worker=1)
        first = next(p["metadata"]["name"] for p in world.pods("south") if labels(p)[INDEX] == "0")
        world.kubectl("delete", "pod", first, "--force", "--grace-period=0")
    status = world.completes("paced")

    assert status["model"]["sha256"] == embedded_digest([*RINGS, job(rounds=ROUNDS)])
    assert {entry["name"]: (entry["rounds"], entry["samples"]) for entry in status["clients"]} == {
        "north": (ROUNDS, 48),
        "south": (ROUNDS, 48),
    }
    claim = world.list("pvc", "fedloom.dev/job=paced")[0]["metadata"]["uid"]
    for record in commits(platform.dirs.run / "volumes" / f"pvc-{claim}")[1:]:
        assert sorted((p.client, p.samples) for p in record.participants) == [("north", 48), ("south", 48)]
    for name in ("north", "south"):
        (training,) = world.list("jobs", f"fedloom.dev/role=trainer,fedloom.dev/client={name}")
        world.wait(
            "pods to end",
            lambda job=training: world.get("jobs", job["metadata"]["name"])["status"].get("succeeded") == 2,
        )
        assert len({labels(p)[INDEX] for p in world.pods(name) if p["status"]["phase"] == "Succeeded"}) == 2
    joined = world.generations("north")
    assert len(joined) >= 2
    assert all(line.endswith("workers 0, 1") for line in joined)


INDEX = "batch.kubernetes.io/job-completion-index"


def labels(pod):
    return pod["metadata"]["labels"]


def test_an_image_without_horovod_is_named_once(world, platform):
    deploy.task_image(platform, BARE, "localhost/fedloom-no-horovod:dev", "paced")
    broken = job()
    broken["spec"]["task"]["image"] = "localhost/fedloom-no-horovod:dev"
    world.apply([RINGS[0], site("south"), broken])

    def told():
        entry = next((s for s in world.status("paced").get("sites", ()) if s["name"] == "north"), {})
        return entry if entry.get("reason") == "CollectiveMissing" else None

    assert "horovod" in world.wait("CollectiveMissing", told)["message"].lower()
    (training,) = world.list("jobs", "fedloom.dev/role=trainer,fedloom.dev/client=north")
    world.wait("the Job to fail", lambda: failed(world.get("jobs", training["metadata"]["name"])))
    assert len(world.pods("north")) <= 2


def failed(body):
    return any(c["type"] == "Failed" and c["status"] == "True" for c in body["status"].get("conditions", ()))
