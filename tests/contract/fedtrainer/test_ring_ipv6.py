"""Rings of pods that have IPv6 addresses alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.fedtrainer.group import RankGroup

COLLECTIVES = ["Horovod", "TorchDistributed"]
pytestmark = pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this kernel has no IPv6")


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_ranks_meet_over_the_loopback_of_ipv6(collective):
    with RankGroup(size=2, here="::1", timeout_s=60.0, collective=collective) as group:
        assert group.started() == [{"result": "ready"}] * 2
        assert group.results("sums", "int32", 70_000) == [0, 0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a network namespace")
@pytest.mark.parametrize("collective", COLLECTIVES)
def test_ranks_meet_where_there_is_no_ipv4(collective):
    command = ["unshare", "--net", sys.executable, "-m", "tests.contract.fedtrainer.ipv6_only", collective]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{"result": 0}] * 2
