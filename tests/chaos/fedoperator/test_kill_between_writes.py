"""kill -9 of the operator after its first write, its second, and so on: a fresh one always ends up with the same set."""

import os
import signal
import subprocess
import sys

import pytest

from fedapi import names
from tests.integration.fedoperator.kit import (
    ROOT,
    SYSTEM,
    complete,
    consortium,
    expected_kinds,
    kinds,
    operator,
    until,
)

pytestmark = pytest.mark.apiserver


@pytest.mark.timeout(1800)
def test_a_fresh_operator_converges_after_a_kill_between_any_two_writes(api, tmp_path):
    with operator(api, tmp_path) as undisturbed:
        undisturbed.wait_ready()
        calm = api.namespace("calm")
        consortium(api, calm, "site-a")
        expected = shape(complete(api, calm, 1))
        until(lambda: api.get("FLClient", calm, "site-a")["status"]["conditions"])
        undisturbed.end()
    writes = len(api.writes(calm, leases=True))
    places = [api.namespace(f"killed-{n}") for n in range(1, writes + 1)]
    for place in places:
        consortium(api, place, "site-a")
    ended = die_in_each(api, places)
    sure = len(expected[0])  # a write for each object; of those to a status, a fast or a slow machine may save some
    assert writes > sure
    assert [ended[place] for place in places[:sure]] == [-signal.SIGKILL] * sure
    assert {ended[place] for place in places[sure:]} <= {-signal.SIGKILL, -signal.SIGALRM}
    with operator(api, tmp_path, RESYNC_S=5) as fresh:
        fresh.wait_ready()
        for place in places:
            assert shape(complete(api, place, 1)) == expected, f"after {places.index(place) + 1} writes"
        until(lambda: all(lease_of_site(api, place) for place in places))


def die_in_each(api, places):
    environment = os.environ | {
        "KUBECONFIG": str(api.cluster.kubeconfig),
        "PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT}",
        "FEDLOOM_OPERATOR_NAMESPACE": SYSTEM,
        "FEDLOOM_OPERATOR_LEADER_ELECTION": "false",
        "FEDLOOM_OPERATOR_PROBE_PORT": "0",
        "FEDLOOM_OPERATOR_METRICS_PORT": "0",
        "FEDLOOM_OPERATOR_WORKERS": "2",
    }
    command = [sys.executable, "-m", "tests.chaos.fedoperator.dying_operator"]
    done = subprocess.run(
        command,
        input="\n".join(places),
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {place: int(code) for place, code in (line.split() for line in done.stdout.splitlines())}


def shape(children):
    """Kinds with the stable part of the names: uids and hashes differ between namespaces."""
    assert kinds(children) == expected_kinds(1)
    roles = sorted((kind, child["metadata"]["labels"][names.LABEL_ROLE]) for (kind, _), child in children.items())
    suspended = sorted(
        (child["metadata"]["labels"][names.LABEL_ROLE], child["spec"].get("suspend", False))
        for (kind, _), child in children.items()
        if kind == "Job"
    )
    return roles, suspended


def lease_of_site(api, namespace):
    return api.get("Lease", namespace, names.site_lease_name("site-a"), missing_ok=True)
