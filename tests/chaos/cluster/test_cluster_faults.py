"""Faults on the real cluster: processes killed, children deleted, HEAD lost, images and data missing. Nothing is lost."""

import os
import subprocess
import sys

import pytest

from tests.e2e.world import TWO_SITES, held, job, site

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


@pytest.fixture
def undisturbed(embedded_digest):
    return embedded_digest([*TWO_SITES, job()])


def test_aggregator_killed_in_mid_round(world, undisturbed):
    with held() as args:
        world.apply([*TWO_SITES, job(args=args)])
        world.wait("round 2", lambda: world.in_round("paced", 2))
        world.kill("fedaggregator", world.get("fj", "paced")["metadata"]["uid"])
    assert world.completes("paced")["model"]["sha256"] == undisturbed


def test_site_killed_in_mid_round_comes_back(world, undisturbed):
    with held() as args:
        world.apply([*TWO_SITES, job(args=args)])
        world.wait("round 2", lambda: world.in_round("paced", 2))
        world.kill("fedtrainer", world.get("fj", "paced")["metadata"]["uid"], "north")
    assert world.completes("paced")["model"]["sha256"] == undisturbed


def test_a_store_whose_head_is_lost_says_so_and_is_repaired(platform, world, undisturbed):
    with held() as args:
        world.apply([*TWO_SITES, job(args=args)])
        world.wait("round 2", lambda: world.in_round("paced", 2))
        claim = world.list("pvc", "fedloom.dev/job=paced")[0]["metadata"]["uid"]
        (head,) = (platform.dirs.run / "volumes" / f"pvc-{claim}").rglob("HEAD.json")
        head.unlink()
    ready = world.wait(
        "StoreDamaged",
        lambda: (c := world.condition("paced", "AggregatorReady")).get("reason") == "StoreDamaged" and c,
    )
    assert "fedloom store repair" in ready["message"]
    command = [sys.executable, "-m", "fedcli", "store", "repair", "paced", "-n", world.namespace]
    command += ["--kubeconfig", str(platform.kubeconfig)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "HEAD was set to round" in done.stdout
    assert world.completes("paced")["model"]["sha256"] == undisturbed


def test_children_deleted_by_hand_come_back(world, undisturbed):
    with held() as args:
        world.apply([*TWO_SITES, job(args=args)])
        world.wait("round 2", lambda: world.in_round("paced", 2))
        world.kubectl("delete", "deployment,service,configmap", "-l", "fedloom.dev/job=paced", "--wait=false")
        world.kubectl("delete", "job", "-l", "fedloom.dev/client=south", "--wait=false")
    assert world.completes("paced")["model"]["sha256"] == undisturbed


def test_leading_operator_killed_in_mid_job(world, undisturbed):
    world.apply([*TWO_SITES, job(seconds="2")])
    world.wait("round 1", lambda: world.in_round("paced", 1))
    lease = world.kubectl(
        "get", "lease", "-n", "fedloom-system", "-o", "jsonpath={.items[*].spec.holderIdentity}", namespaced=False
    )
    pods = world.kubectl("get", "pods", "-n", "fedloom-system", "-o", "name", namespaced=False).split()
    leader = next(pod for pod in pods if pod.removeprefix("pod/") in lease)
    world.kubectl("delete", leader, "-n", "fedloom-system", "--force", "--grace-period=0", namespaced=False)
    assert world.completes("paced")["model"]["sha256"] == undisturbed
    assert len(world.list("jobs", "fedloom.dev/role=trainer")) == len(TWO_SITES)


def test_recreated_under_the_same_name_in_mid_round(world):
    world.apply([*TWO_SITES, job(seconds="4", rounds=3)])
    world.wait("round 1", lambda: world.in_round("paced", 1))
    before = world.get("fj", "paced")["metadata"]["uid"]
    world.kubectl("delete", "fj", "paced", "--wait=true")
    world.apply([job(rounds=2)])
    status = world.completes("paced")
    assert status["round"]["progress"] == "2/2"
    assert world.get("fj", "paced")["metadata"]["uid"] != before
    assert len(world.list("pvc", "fedloom.dev/job=paced")) == 2


def test_a_site_without_data_is_named_and_the_others_go_on(world):
    three = [*TWO_SITES, site("west")]
    world.apply([*three, job(rounds=2, args={"need": "west"}, round={"deadline": "60s", "quorum": 2})])
    status = world.completes("paced")
    named = next(entry for entry in status["clients"] if entry["name"] == "west")
    assert "patients.csv" in named["message"]
    world.wait("DataAvailable", lambda: condition(world, "west", "DataAvailable").get("status") == "False")
    assert "patients.csv" in condition(world, "west", "DataAvailable")["message"]


def condition(world, client, type_):
    return next((c for c in world.get("flc", client).get("status", {}).get("conditions", ()) if c["type"] == type_), {})


def test_a_task_that_does_not_import_fails_with_its_name(world):
    broken = job()
    broken["spec"]["task"]["entrypoint"] = "no_such_module:task"
    world.apply([*TWO_SITES, broken])
    failed = world.wait("the job to fail", lambda: fails(world))
    assert failed["reason"] == "TaskImportFailed"
    assert "no_such_module" in failed["message"]


def test_a_missing_image_fails_with_its_name(world):
    broken = job(pendingDeadline="10s")
    broken["spec"]["task"]["image"] = "localhost/fedloom-no-such-image:dev"
    world.apply([*TWO_SITES, broken])
    failed = world.wait("the job to fail", lambda: fails(world))
    assert "fedloom-no-such-image" in failed["message"]


def test_missing_capacity_is_told_and_waits(world):
    greedy = [site("north", pool={"resources": {"requests": {"cpu": "900"}}}), site("south")]
    world.apply([*greedy, job(rounds=1, pendingDeadline="30s")])

    def told():
        entry = next((s for s in world.status("paced").get("sites", ()) if s["name"] == "north"), {})
        return entry if entry.get("reason") == "Unschedulable" else None

    assert "cpu" in world.wait("Unschedulable", told)["message"]
    world.apply([site("north", pool={"resources": {"requests": {"cpu": "10m"}}})])
    world.completes("paced")


def fails(world):
    found = world.condition("paced", "Failed")
    return found if found.get("status") == "True" else None


def test_a_pool_changed_in_mid_job_acts_at_the_next_round(world, undisturbed):
    with held() as args:
        world.apply([*TWO_SITES, job(args=args)])
        world.wait("round 1", lambda: world.in_round("paced", 1))
        before = {entry["metadata"]["name"] for entry in world.list("jobs", "fedloom.dev/client=north")}
        world.apply([site("north", pool={"resources": {"requests": {"cpu": "20m"}}})])
    assert world.completes("paced")["model"]["sha256"] == undisturbed
    assert before.isdisjoint(entry["metadata"]["name"] for entry in world.list("jobs", "fedloom.dev/client=north"))
