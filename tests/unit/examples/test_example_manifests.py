"""The examples' manifests are valid, complete and agree with the files beside them."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import yaml

from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.flclient import FLClient
from fedapi.names import API_VERSION
from fedtrainer import Task

EXAMPLES = Path(__file__).parents[3] / "examples"
FOLDERS = sorted(path.parent for path in EXAMPLES.glob("*/sites.yaml"))


def module(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem + "_example", path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def documents(folder: Path):
    return [body for path in sorted(folder.glob("*.yaml")) for body in yaml.safe_load_all(path.read_text())]


def test_the_examples_are_there():
    assert [folder.name for folder in FOLDERS] == [
        "adapters", "fashion-mnist", "heart-disease", "topologies", "two-rings",
    ]  # fmt: skip


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_manifests(folder):
    bodies = documents(folder)
    assert {body["apiVersion"] for body in bodies} == {API_VERSION}
    jobs = [FederatedJob.parse(body) for body in bodies if body["kind"] == "FederatedJob"]
    clients = [FLClient.parse(body) for body in bodies if body["kind"] == "FLClient"]
    taken = {job.metadata.name: selected(job, clients) for job in jobs}
    assert {job.metadata.name: job.spec.clients.min_available for job in jobs} == {n: len(s) for n, s in taken.items()}
    assert set().union(*taken.values()) == {client.metadata.name for client in clients}
    for job in jobs:
        check_task(folder, job)


def selected(job, clients):
    """Names of the job's sites."""
    wanted = job.spec.clients.selector.match_labels.items()
    return {client.metadata.name for client in clients if client.metadata.labels.items() >= wanted}


def check_task(folder, job):
    """It can be made, and the image has it."""
    name, factory = job.spec.task.entrypoint.split(":")
    task = getattr(module(folder / f"{name}.py"), factory)(**job.spec.task.args)
    assert isinstance(task, Task)
    assert sum(p.numel() for p in task.model().parameters()) > 0
    assert f"COPY {name}.py /opt/task/{name}.py" in (folder / "Dockerfile").read_text()
    images = [job.spec.task.image, *(entry.image for entry in job.spec.task.images or ())]
    assert [image for image in images if f"-t {image} " not in (folder / "Dockerfile").read_text()] == []


def test_the_rings_get_images_of_their_own(tmp_path):
    """Of noise, which compresses worse than any picture: the real ones come from a Debian package."""
    prepare = module(EXAMPLES / "two-rings" / "prepare.py")
    for part, count in (("train", 2 * prepare.TRAIN), ("t10k", 2 * prepare.TEST)):
        noise = np.random.default_rng(count).bytes(count * 28 * 28)
        for name, content in (("images-idx3", bytes(16) + noise), ("labels-idx1", bytes(8) + noise[:count])):
            (tmp_path / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(content, 1))
    volumes = prepare.chosen(tmp_path, 7)
    assert volumes.keys() == {
        volume["configMap"]["name"]
        for body in documents(EXAMPLES / "two-rings")
        if body["kind"] == "FLClient"
        for volume in body["spec"]["data"]["volumes"]
    }
    for files in volumes.values():
        assert files.keys() == {"train.npz", "test.npz"}
        assert sum(len(content) for content in files.values()) < 2**20  # what a ConfigMap holds


def test_hospitals():
    prepare = module(EXAMPLES / "heart-disease" / "prepare.py")
    clients = {
        body["metadata"]["name"]: FLClient.parse(body)
        for body in documents(EXAMPLES / "heart-disease")
        if body["kind"] == "FLClient"
    }
    assert clients.keys() == prepare.COUNTS.keys()
    assert sum(train + test for train, test in prepare.COUNTS.values()) == 740
    assert sorted(client.spec.provider for client in clients.values()) == ["AWS", "Azure", "GCP", "OnPremises"]
    assert {v.config_map.name for c in clients.values() for v in c.spec.data.volumes} == {
        f"{name}-patients" for name in clients
    }
