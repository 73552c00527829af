"""Pods that wait for what they mount."""

from datetime import UTC, datetime, timedelta

import pytest

from fedapi import names
from fedoperator.stuck import stuck_for_s

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def pod(
    *,
    reason="ContainerCreating",
    waited_s=30,
    placed="True",
    phase="Pending",
    sandbox=None,
    deleting=False,
    role="trainer",
):
    conditions = [
        {
            "type": "PodScheduled",
            "status": placed,
            "lastTransitionTime": (NOW - timedelta(seconds=waited_s)).isoformat(),
        }
    ]
    if sandbox:
        conditions.append({"type": "PodReadyToStartContainers", "status": sandbox})
    return {
        "metadata": {"labels": {names.LABEL_ROLE: role}} | ({"deletionTimestamp": NOW.isoformat()} if deleting else {}),
        "status": {
            "phase": phase,
            "conditions": conditions,
            "containerStatuses": [{"state": {"waiting": {"reason": reason}}}],
        },
    }


@pytest.mark.parametrize(
    ("pods", "waited_s"),
    [
        ([], None),
        ([pod()], 30),
        ([pod(waited_s=5), pod(waited_s=40)], 40),
        ([pod(sandbox="False")], 30),
        ([pod(sandbox="True")], None),  # mounted: it pulls its image
        ([pod(reason="CreateContainerConfigError", sandbox="True")], 30),
        ([pod(reason="PodInitializing", role="init")], 30),  # of two containers, one after the other
        ([pod(reason="ImagePullBackOff")], None),
        ([pod(placed="False")], None),
        ([pod(phase="Running")], None),
        ([pod(deleting=True)], None),
        ([pod(role="backup")], None),  # mounts none of the job's Secrets
        ([{"metadata": {}}], None),
    ],
)
def test_a_pod_is_stuck(pods, waited_s):
    assert stuck_for_s(pods, NOW) == waited_s
