"""All children of sample jobs, as YAML. Refresh with FEDLOOM_REFRESH_GOLDEN=1 and read the difference."""

import os
from pathlib import Path

import pytest
import yaml

from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.flclient import FLClient
from fedoperator.decide.client import decide_client
from fedoperator.decide.job import decide
from fedoperator.decide.model import ObservedClient
from tests.unit.operator_pure import samples as s

HERE = Path(__file__).parent

PLAIN = (s.job(), (s.site("berlin"),))
FULL = (
    s.job(
        priorityClassName="research",
        clients={"selector": {"matchLabels": {"consortium": "heart"}}, "policy": "Random", "perRound": 1},
        round={"quorum": "60%", "deadline": "30m", "graceAfterQuorum": "2m"},
        stop={"metric": "accuracy", "target": "0.85", "patience": 5},
        training={
            "epochs": 2,
            "optimizer": {"name": "AdamW", "learningRate": "0.001", "weightDecay": "0.01"},
            "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "8Gi"}},
            "podTemplate": {
                "labels": {"team": "cardio"},
                "annotations": {"example.com/cost": "42"},
                "env": [{"name": "LOG", "value": "info"}],
                "imagePullSecrets": ["registry"],
            },
        },
        aggregator={
            "resources": {"limits": {"memory": "2Gi"}},
            "podTemplate": {"nodeSelector": {"pool": "hub"}, "tolerations": [{"key": "hub", "operator": "Exists"}]},
        },
        storage={"volume": {"size": "50Gi", "storageClassName": "fast", "whenDeleted": "Delete"}},
    ),
    (
        s.site(
            "berlin",
            labels={"consortium": "heart"},
            provider="AWS",
            pool={
                "accelerator": "GPU",
                "resourceName": "nvidia.com/gpu",
                "count": 2,
                "nodeSelector": {"accelerator": "a100"},
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            },
            data={
                "volumes": [
                    {"name": "scans", "persistentVolumeClaim": {"claimName": "mri"}},
                    {"name": "rows", "configMap": {"name": "heart-rows"}},
                ],
                "env": [{"name": "SPLIT", "value": "train"}],
            },
            state={"persistentVolumeClaim": {"claimName": "berlin-state"}},
        ),
        s.site("lyon", labels={"consortium": "heart"}, paused=True),
        s.site("oslo"),
    ),
)


def _rendered(job: FederatedJob, clients: tuple[FLClient, ...]) -> str:
    leases = [o for client in clients for o in decide_client(ObservedClient(client, None), s.NOW).objects]
    objects = [*decide(s.observe(job, clients), s.NOW).objects, *leases]
    plain = yaml.SafeDumper
    plain.ignore_aliases = lambda *_: True
    return yaml.dump_all((dict(o) for o in objects), Dumper=plain, sort_keys=True, width=1000)


@pytest.mark.parametrize(("name", "sample"), [("plain", PLAIN), ("full", FULL)])
def test_children(name, sample):
    path, text = HERE / f"{name}.yaml", _rendered(*sample)
    if os.environ.get("FEDLOOM_REFRESH_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text, (
        f"{path.name} is stale: refresh with FEDLOOM_REFRESH_GOLDEN=1 and read the difference"
    )
