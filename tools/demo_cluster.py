"""`make demo-cluster`: the heart-disease consortium on a real Kubernetes, from images to result.json.

Uses the cluster of FEDLOOM_KUBECONFIG (with images under FEDLOOM_IMAGES), or else the local one of tests/cluster.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster.errors import ClusterError
from tests.cluster.tools import binary, client
from tools import deploy

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "heart-disease"
OUT = ROOT / "build" / "demo-cluster"
NAMESPACE = "heart-disease"
TIMEOUT_S = 600


@dataclass(frozen=True)
class Target:
    """A cluster and where it finds images."""

    kubeconfig: Path
    images: str  # prefix of the task image, such as registry.example.com/team
    program: Path  # kubectl

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Kubectl's standard output; its own message and exit code end the program."""
        command = [str(self.program), f"--kubeconfig={self.kubeconfig}", *words]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout


def target() -> Target:
    """The user's cluster, or the local one with fresh images."""
    if foreign := os.environ.get("FEDLOOM_KUBECONFIG"):
        images = os.environ.get("FEDLOOM_IMAGES")
        if not images:
            sys.exit(
                "FEDLOOM_KUBECONFIG is set: push fedloom/operator, fedloom/aggregator, fedloom/trainer and "
                "fedloom-heart-disease to a registry of that cluster and set FEDLOOM_IMAGES to its prefix"
            )
        kubeconfig = Path(foreign)
        if not kubeconfig.is_file():
            sys.exit(f"FEDLOOM_KUBECONFIG={foreign}: no such file; name the kubeconfig of your cluster, or unset it")
        deploy.install_chart(kubeconfig, images)
        return Target(kubeconfig, images, client("kubectl"))
    cluster = deploy.local_cluster()
    deploy.task_image(cluster, EXAMPLE, "localhost/fedloom-heart-disease:dev")
    deploy.install_chart(cluster.kubeconfig, None)
    return Target(cluster.kubeconfig, "", binary("kubectl"))


def manifests(where: Target) -> str:
    """The example's manifests and its data, as one YAML stream."""
    data = OUT / "data.yaml"
    subprocess.run([sys.executable, str(EXAMPLE / "prepare.py"), "--configmaps", str(data)], check=True)
    documents = [*yaml.safe_load_all(data.read_text())]
    for name in ("sites.yaml", "job.yaml"):
        documents += yaml.safe_load_all((EXAMPLE / name).read_text())
    for document in documents:
        if where.images and document["kind"] == "FederatedJob":
            document["spec"]["task"]["image"] = f"{where.images}/fedloom-heart-disease:dev"
    return yaml.safe_dump_all(documents)


def follow(where: Target, job: str) -> None:
    """Prints every change of the job's line until it ends; a job that does not end is shown and fails."""
    last, until = "", time.monotonic() + TIMEOUT_S
    while time.monotonic() < until:
        line = where.kubectl("get", "federatedjob", job, "-n", NAMESPACE, "--no-headers")
        seen = " ".join(line.split()[:-1])
        if seen != last:
            print(line.rstrip(), flush=True)
            last = seen
        status = json.loads(where.kubectl("get", "federatedjob", job, "-n", NAMESPACE, "-o", "json")).get("status", {})
        if any(c["type"] in {"Complete", "Failed"} and c["status"] == "True" for c in status.get("conditions", ())):
            return
        time.sleep(0.5)
    sys.exit(where.kubectl("describe", "federatedjob", job, "-n", NAMESPACE))


def main() -> None:
    """Installs, applies, follows, and writes result.json and the tables."""
    OUT.mkdir(parents=True, exist_ok=True)
    where = target()
    documents = manifests(where)
    job = next(d["metadata"]["name"] for d in yaml.safe_load_all(documents) if d["kind"] == "FederatedJob")
    where.kubectl(
        "apply",
        "-f",
        "-",
        stdin=yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
    )
    where.kubectl("delete", "federatedjob", job, "-n", NAMESPACE, "--ignore-not-found", "--wait=true")
    where.kubectl("delete", "pvc", "-n", NAMESPACE, "-l", f"fedloom.dev/job={job}", "--wait=false")
    where.kubectl("apply", "--server-side", "-n", NAMESPACE, "-f", "-", stdin=documents)
    follow(where, job)
    tables = where.kubectl("get", "federatedjobs,flclients", "-n", NAMESPACE)
    (OUT / "tables.txt").write_text(tables)
    print(tables)
    result = OUT / "result.json"
    command = [
        sys.executable,
        "-m",
        "fedcli",
        "result",
        job,
        "-n",
        NAMESPACE,
        "--kubeconfig",
        str(where.kubeconfig),
        "-o",
        str(result),
    ]
    subprocess.run(command, check=True)
    if json.loads(result.read_text())["phase"] != "Complete":
        sys.exit(f"the job did not complete: see {result.relative_to(ROOT)}")
    print(result.relative_to(ROOT))
    if not where.images:
        print(
            f'look: eval "$(python3 -m tests.cluster env)"; kubectl get fj -n {NAMESPACE}    end it: make cluster-down'
        )


if __name__ == "__main__":
    try:
        main()
    except ClusterError as error:
        sys.exit(str(error))
