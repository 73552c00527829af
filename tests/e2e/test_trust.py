"""All that makes a job worth trusting, together on the real cluster: signatures, certificates, noise, ledger, card and release, through a kill."""

import json
import subprocess
import sys

import pytest
import yaml

from tests.e2e.world import held, job, site

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


def _fedloom(*words, code=0):
    done = subprocess.run([sys.executable, "-m", "fedcli", *words], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def _signing_site(world, name):
    """A site with a key of its own, which its owner made and gave to the cluster as a Secret."""
    made = _fedloom("site", "key", "new", name, "--secret", "-n", world.namespace)
    world.apply([yaml.safe_load(made.stdout)])
    return site(name, **yaml.safe_load(made.stderr)["spec"])


def test_a_job_with_everything_survives_a_kill_and_is_proven_afterwards(world, tmp_path):
    approver = yaml.safe_load(_fedloom("model", "approver", "board", "--key", str(tmp_path / "board.pem")).stdout)
    sites = [_signing_site(world, name) for name in ("north", "south")]
    privacy = {"differentialPrivacy": {"mode": "Central", "clipNorm": "1", "noiseMultiplier": "2", "delta": "0.00001"}}
    clients = {
        "selector": {"matchLabels": {"consortium": "test"}},
        "minAvailable": 2,
        "certificates": "Required",
    }
    release = {"required": 1, "approvers": approver}
    with held() as args:
        world.apply([*sites, job(args=args, clients=clients, privacy=privacy, release=release)])
        world.wait("round 2", lambda: world.in_round("paced", 2))
        world.kill("fedaggregator", world.get("fj", "paced")["metadata"]["uid"])
    status = world.completes("paced")
    assert status["round"]["progress"] == "3/3"
    assert float(status["privacy"]["epsilon"]) > 0

    where = ("-n", world.namespace, "--kubeconfig", str(world.kubeconfig))
    key = status["ledger"]["publicKey"]
    _fedloom("ledger", "verify", "paced", *where, "--public-key", key)
    exported = tmp_path / "ledger.jsonl"
    _fedloom("ledger", "export", "paced", *where, "--public-key", key, "-o", str(exported))
    kinds = [json.loads(line).get("kind") for line in exported.read_text().splitlines()]
    assert (kinds.count("accepted"), kinds.count("started")) == (6, 2)

    card = json.loads(_fedloom("model", "card", "paced", *where, "--output", "json").stdout)
    assert card["bound"]["privacy"]["epsilon"] == pytest.approx(float(status["privacy"]["epsilon"]), rel=0.01)

    out = tmp_path / "model.safetensors"
    pull = ("model", "pull", "paced", *where, "-o", str(out))
    assert "approv" in _fedloom(*pull, code=1).stderr
    assert not out.exists()
    _fedloom("model", "approve", "paced", *where, "--approver", "board", "--key", str(tmp_path / "board.pem"))
    world.wait("the release", lambda: world.condition("paced", "Released").get("status") == "True")
    _fedloom(*pull)
    assert out.exists()
