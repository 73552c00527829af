"""All children of sample jobs, and what rings add to them, as YAML. Refresh with FEDLOOM_REFRESH_GOLDEN=1 and read the difference."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.flclient import FLClient
from fedapi.jsonvalue import JsonView
from fedoperator.decide.client import decide_client
from fedoperator.decide.decision import ObservedClient
from fedoperator.decide.job import decide
from fedoperator.desired.ring_policy import ring_policy
from fedoperator.desired.ring_service import ring_service
from fedoperator.desired.training_job import training_job
from tests.unit.fedoperator import samples as s

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
                "annotations": {"cost": "42"},
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

SANDBOX = {"volumes": [{"name": "rows", "configMap": {"name": "sandbox"}}], "env": [{"name": "SPLIT", "value": "all"}]}
BUCKETS = (
    s.job(
        s.in_round() | {"round": {"current": 13, "total": 20, "committed": 12}},
        storage={
            "s3": {
                "bucket": "models",
                "prefix": "heart",
                "region": "eu-central-1",
                "endpoint": "https://minio.storage.svc:9000",
                "conditionalWrites": "LeaseFenced",
                "credentialsSecretRef": {"name": "fedloom-store-minio"},
            },
            "residency": ["eu-central-1", "westeurope"],
        },
        backup={
            "schedule": "0 3 * * *",
            "everyRounds": 5,
            "coldAfterDays": 90,
            "destination": {
                "azure": {
                    "account": "hospital",
                    "container": "copies",
                    "region": "westeurope",
                    "clientID": "00000000-0000-0000-0000-000000000001",
                }
            },
            "verify": {"schedule": "0 4 * * 0", "data": SANDBOX, "metric": "accuracy", "tolerance": "0.01"},
        },
        aggregator={"podTemplate": {"nodeSelector": {"pool": "hub"}}},
    ),
    (s.site("berlin"),),
)
RESTORED = (
    s.job(
        storage={"gcs": {"bucket": "models", "serviceAccount": "fedloom@p.iam.gserviceaccount.com"}},
        restoreFrom={
            "source": {"persistentVolumeClaim": {"claimName": "lost-backup-store-01234567"}},
            "backup": "research/lost",
            "round": 12,
            "publicKey": "0" * 64,
        },
        backup={"everyRounds": 5},
    ),
    (s.site("berlin"),),
)


RINGS = (
    s.site("cpu", pool={"workers": 2, "queueName": "shared"}),
    s.site(
        "gpu",
        provider="Azure",
        pool={
            "accelerator": "GPU", "resourceName": "nvidia.com/mig-1g.5gb", "count": 2, "workers": 4, "minWorkers": 2,
            "collective": "TorchDistributed", "spot": True,
        },
    ),
    s.site(
        "tpu",
        provider="GCP",
        pool={"accelerator": "TPU", "tpu": {"type": "tpu-v5-lite-podslice", "topology": "2x4"}, "workers": 4},
    ),
)  # fmt: skip


def _rings() -> Iterable[JsonView]:
    images = [{"accelerator": "GPU", "image": "registry.example/heart:cuda"}]
    job = s.job(task={"entrypoint": "heart.task:make", "image": "registry.example/heart:1", "images": images})
    for site in RINGS:
        for made in (ring_service(job, site), ring_policy(job, site)):
            assert made is not None
            yield made
        yield training_job(job, site, "cluster.local", jobset=True, step="3-1")


def _rendered(job: FederatedJob, clients: tuple[FLClient, ...]) -> str:
    leases = [o for client in clients for o in decide_client(ObservedClient(client, None), s.NOW).objects]
    return _text([*decide(s.observe(job, clients), s.NOW).objects, *leases])


def _text(objects: Iterable[JsonView]) -> str:
    plain = yaml.SafeDumper
    plain.ignore_aliases = lambda *_: True
    return yaml.dump_all((dict(o) for o in objects), Dumper=plain, sort_keys=True, width=1000)


@pytest.mark.parametrize(
    ("name", "sample"), [("plain", PLAIN), ("full", FULL), ("buckets", BUCKETS), ("restored", RESTORED)]
)
def test_children(name, sample):
    _compare(name, _rendered(*sample))


def test_what_several_pods_add():
    _compare("rings", _text(_rings()))


def _compare(name: str, text: str) -> None:
    path = HERE / f"{name}.yaml"
    if os.environ.get("FEDLOOM_REFRESH_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text, (
        f"{path.name} is stale: refresh with FEDLOOM_REFRESH_GOLDEN=1 and read the difference"
    )
