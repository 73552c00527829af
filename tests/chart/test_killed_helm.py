"""What a helm that was killed leaves behind on a cluster that goes on: nothing that a later run trips over."""

import subprocess

import pytest

from tests.chart.rendering import NAMESPACE, HelmError
from tests.chart.server import RELEASE, release
from tests.cluster.tools import binary
from tests.waiting import until
from tools import deploy

pytestmark = pytest.mark.apiserver
PENDING = ("get", "secrets", "--namespace", NAMESPACE, "--selector=owner=helm,status=pending-install", "-o", "name")


def test_a_release_that_is_half_done_is_forgotten(cluster):
    assert (NAMESPACE, RELEASE[0]) == (deploy.SYSTEM_NAMESPACE, deploy.RELEASE)
    command = [binary("helm"), f"--kubeconfig={cluster.kubeconfig}", "install", *RELEASE, "--wait"]
    try:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as helm:
            try:  # it goes on waiting: no node is there that the operator could start on
                until(lambda: cluster.kubectl(*PENDING) or helm.poll() is not None)
            finally:
                helm.kill()
        with pytest.raises(HelmError, match="another operation"):
            release(cluster, "upgrade", "--install", *RELEASE)
        deploy.forget_pending(cluster.kubeconfig)
        release(cluster, "upgrade", "--install", *RELEASE)
    finally:
        release(cluster, "uninstall", RELEASE[0], "--namespace", NAMESPACE)
