"""Differential privacy with the real aggregator: what its records, its status and its models say, and when it ends."""

import math

import numpy as np
import pytest
from safetensors.numpy import load

from fedapi.wire.compression import Compression, codec
from fedapi.wire.privacy import AdaptiveClipping, Privacy
from fedcore.privacy.gaussian import epsilon_of
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, monitored, run_sites
from tests.unit.fedcore.compression.coding import file_of
from tests.waiting import until

CLIENTS = ("a", "b", "c", "d")
DELTA = 1e-5
ITEMS = 20_000


def private(folder, rounds: int, **values) -> JobFolder:
    asked = Privacy(**{"mode": "Central", "clip_norm": 1.0, "delta": DELTA} | values)
    model = {"layer.weight": np.zeros((2, ITEMS // 2), np.float32)}
    return JobFolder(folder, config(CLIENTS, rounds=rounds, privacy=asked), model=model)


class Extreme(Site):
    """A site that sends as much as it can, and says that it has all samples there are."""

    def manifest(self, order, sent, **values):
        return super().manifest(order, sent, **values | {"samples": 1_000_000})


def large(model, client, order):
    return {name: np.full_like(value, 1e6 if client == "a" else 0.0) for name, value in model.items()}


def test_a_site_that_sends_anything_has_its_share_and_no_more(tmp_path):
    job = private(tmp_path, 1, noise_multiplier=0.01)
    with Aggregator(job).ready():
        run_sites(job, kind=Extreme, train=large)
        until(lambda: "outcome" in job.status())
    first, last = (load(job.store.get(commit.model.key))["layer.weight"] for commit in job.commits())
    change = (last - first).astype(np.float64)
    along = change.sum() / math.sqrt(change.size)  # in the direction of what was sent
    assert along == pytest.approx(1.0 / len(CLIENTS), abs=5 * 0.01 / len(CLIENTS))
    assert np.std(change - change.mean()) == pytest.approx(0.01 / len(CLIENTS), rel=0.05)


def test_what_is_told_of_it(tmp_path):
    job = private(tmp_path, 2, noise_multiplier=2.0)
    with Aggregator(job).ready():
        run_sites(job)
        until(lambda: "outcome" in job.status())
        spent = epsilon_of(math.sqrt(2) / 2, DELTA)
        told = job.status()["privacy"]
        assert (told["unit"], told["mode"], float(told["delta"])) == ("Site", "Central", DELTA)
        assert 0 <= float(told["epsilon"]) - spent < 1e-4
        line = next(
            each
            for each in monitored(job, "/metrics").text.splitlines()
            if each.startswith("fedloom_aggregator_privacy")
        )
        assert float(line.split()[1]) == pytest.approx(spent)
    charges = [commit.privacy for commit in job.commits()]
    assert charges[0] is None
    assert [charge.epsilon for charge in charges[1:]] == pytest.approx([epsilon_of(0.5, DELTA), spent])


def test_the_job_ends_when_the_budget_is_spent(tmp_path):
    job = private(tmp_path, 50, noise_multiplier=2.0, target_epsilon=4.0)
    with Aggregator(job).ready():
        run_sites(job)
        until(lambda: "outcome" in job.status())
        outcome = job.status()["outcome"]
    assert (outcome["result"], outcome["reason"]) == ("Succeeded", "PrivacyBudgetSpent")
    assert len(job.commits()) == 4
    assert job.commits()[-1].privacy.epsilon <= 4.0


class Encoding(Site):
    """Encodes as an order says."""

    def payload(self, order, sent):
        return super().payload(order, sent).model_copy(update={"codec": codec(order.compression)})

    def upload(self, order, data, **beside):
        return super().upload(order, file_of(load(data), order.compression.encoding), **beside)


def test_encoded_updates_are_clipped_as_they_are_decoded(tmp_path):
    job = private(tmp_path, 1, noise_multiplier=0.01)
    job.write_config(job.config.model_copy(update={"compression": Compression(codec="Int8")}))
    with Aggregator(job).ready():
        run_sites(job, kind=Encoding, train=large)
        until(lambda: "outcome" in job.status())
    first, last = (load(job.store.get(commit.model.key))["layer.weight"] for commit in job.commits())
    along = float((last - first).astype(np.float64).sum()) / math.sqrt(ITEMS)
    assert along == pytest.approx(1.0 / len(CLIENTS), abs=5 * 0.01 / len(CLIENTS))


LENGTHS = dict(zip(CLIENTS, (1.0, 2.0, 4.0, 8.0), strict=True))


def of_length(model, client, order):
    return {name: np.full_like(value, LENGTHS[client] / math.sqrt(value.size)) for name, value in model.items()}


@pytest.mark.parametrize("begun", [40.0, 0.1])
def test_the_clip_norm_ends_where_half_of_the_updates_are(tmp_path, begun):
    adaptive = AdaptiveClipping(target_quantile=0.5, learning_rate=1.0)
    job = private(tmp_path, 12, clip_norm=begun, noise_multiplier=0.01, adaptive=adaptive)
    with Aggregator(job).ready():
        run_sites(job, train=of_length)
        until(lambda: "outcome" in job.status())
        told = job.status()["privacy"]
    charges = [commit.privacy for commit in job.commits()[1:]]
    assert charges[0].clip_norm == begun
    assert charges[0].within == pytest.approx(float(begun > 8), abs=0.3)
    assert 2.0 < charges[-1].clip_norm < 4.0
    assert 2.0 < float(told["clipNorm"]) < 4.0
    assert charges[-1].epsilon == pytest.approx(epsilon_of(math.sqrt(12) / 0.01, DELTA)), "both releases are in it"
