"""Rings of pods that have IPv6 addresses alone."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.contract.ring.group import RankGroup

COLLECTIVES = ["Horovod", "TorchDistributed"]


def can(*words):
    found = shutil.which(words[0])
    return found and subprocess.run([found, *words[1:]], capture_output=True, timeout=30, check=False).returncode == 0


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_ranks_meet_over_the_loopback_of_ipv6(collective):
    if not can(sys.executable, "-c", "import socket; socket.create_server(('::1', 0), family=socket.AF_INET6)"):
        pytest.skip("this machine has no IPv6")
    with RankGroup(size=2, here="::1", timeout_s=60.0, collective=collective) as group:
        assert group.started() == [{"result": "ready"}] * 2
        assert group.results("sums", "int32", 70_000) == [0, 0]


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_ranks_meet_where_there_is_no_ipv4(collective):
    if not can("unshare", "--net", "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"):
        pytest.skip("no right, or no programs, to make a network namespace here")
    command = ["unshare", "--net", sys.executable, "-m", "tests.contract.ring.ipv6_only", collective]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{"result": 0}] * 2
