"""A job's life on the real cluster: applied, watched, suspended, finished, expired; its model fetched."""

import hashlib
import subprocess
import sys

import pytest

from tests.e2e.world import CHILDREN, TWO_SITES, held, job
from tools import deploy

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


def test_a_job_completes_with_the_embedded_runners_digest(world, embedded_digest, tmp_path):
    documents = [*TWO_SITES, job()]
    world.apply(documents)
    status = world.completes("paced")
    assert status["round"]["progress"] == "3/3"
    assert status["model"]["sha256"] == embedded_digest(documents)

    columns = world.kubectl("get", "fj", "paced").splitlines()
    assert columns[0].split() == ["NAME", "PHASE", "ROUND", "CLIENTS", "METRIC", "EPSILON", "AGE"]
    assert columns[1].split()[:4] == ["paced", "Complete", "3/3", "2/2"]
    wide = world.kubectl("get", "fj", "paced", "-o", "wide").splitlines()[0].split()
    assert {"STRATEGY", "MODEL", "AGGREGATOR"} <= set(wide)
    world.wait("heartbeats", lambda: [c["status"].get("active") for c in world.list("flc")] == [True, True])
    sites = world.kubectl("get", "flc").splitlines()
    shown = ["NAME", "PROVIDER", "REGION", "ACCELERATOR", "READY", "ACTIVE", "LAST-ROUND", "ACCEPTED", "AGE"]
    assert sites[0].split() == shown
    counted = {"selected": 3, "accepted": 3, "failed": 0, "lastRound": 3}
    world.wait(
        "what the sites took part in",
        lambda: all(c["status"].get("participation", {}).items() >= counted.items() for c in world.list("flc")),
    )

    scaled = world.wait(
        "the aggregator to scale to zero", lambda: not world.list("pods", "fedloom.dev/role=aggregator")
    )
    assert scaled
    out = tmp_path / "model.safetensors"
    command = [sys.executable, "-m", "fedcli", "model", "pull", "paced", "-n", world.namespace]
    subprocess.run([*command, "--kubeconfig", str(world.kubeconfig), "-o", str(out)], check=True)
    assert hashlib.sha256(out.read_bytes()).hexdigest() == status["model"]["sha256"]


def test_suspend_frees_the_pods_and_resume_goes_on(world, embedded_digest):
    with held() as args:
        world.apply([*TWO_SITES, job(args=args)])
        world.wait("round 2", lambda: world.in_round("paced", 2))
        world.kubectl("patch", "fj", "paced", "--type=merge", "-p", '{"spec":{"suspend":true}}')
        world.wait("no pods", lambda: not world.list("pods", "fedloom.dev/role in (aggregator,trainer)"))
    world.wait("Suspended", lambda: world.condition("paced", "Suspended").get("status") == "True")
    world.wait("the phase", lambda: world.status("paced")["phase"] == "Suspended")
    world.kubectl("patch", "fj", "paced", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    status = world.completes("paced")
    assert status["model"]["sha256"] == embedded_digest([*TWO_SITES, job()])


def test_an_expired_job_deletes_itself_and_keeps_its_volume(world):
    world.apply([*TWO_SITES, job(rounds=1, ttlSecondsAfterFinished=1)])
    world.wait("the job to expire", lambda: not world.list("fj"))
    world.wait("its children to go", lambda: not world.list("jobs") and not world.list("deployments"))
    assert [claim["metadata"]["name"] for claim in world.list("pvc", "fedloom.dev/job=paced")]


def test_deleting_a_job_removes_everything_but_a_retained_volume(world):
    world.apply(
        [
            *TWO_SITES,
            job(seconds="5"),
            job("gone", seconds="5", storage={"volume": {"size": "1Gi", "whenDeleted": "Delete"}}),
        ]
    )
    world.wait("both to run", lambda: all(world.in_round(name, 1) for name in ("paced", "gone")))
    world.kubectl("delete", "fj", "paced", "gone", "--wait=false")
    world.wait(
        "children to go", lambda: not [k for k in CHILDREN if world.list(k, "app.kubernetes.io/managed-by=fedloom")]
    )
    world.wait(
        "one volume", lambda: [c["metadata"]["labels"]["fedloom.dev/job"] for c in world.list("pvc")] == ["paced"]
    )


def test_the_chart_tests_itself(platform):
    assert "Phase:          Succeeded" in platform.helm("test", "fedloom", "--namespace", deploy.SYSTEM_NAMESPACE)
