"""A real trainer that hides its updates by noise of its own from a real aggregator: the same bytes after a kill, and no more than it allows."""

import json
import signal

import numpy as np
import pytest
from safetensors.numpy import load

from fedapi import names
from fedapi.outcome import Exit
from fedapi.wire.commit import CommitRecord
from fedapi.wire.compression import Compression
from fedapi.wire.privacy import Privacy, PrivacyDemand
from fedstore import history
from fedstore.opening import open_store
from tests.integration.fedaggregator.harness import UID
from tests.integration.fedtrainer.programs import Site, models
from tests.integration.protocol.faults import Answer
from tests.waiting import until

LOCAL = Privacy(mode="Local", clip_norm=1.0, noise_multiplier=2.0, delta=1e-5)


@pytest.fixture
def job_values():
    return {"rounds": 3, "privacy": LOCAL}


def started(folder, hub, kind="Wide", **env) -> Site:
    site = Site(folder, hub, env=env)
    hub.give(site.initial_model(kind))
    return site


def releases(site) -> list[dict]:
    return json.loads((site.folder / "state" / UID / "site-a" / "state" / "releases.json").read_bytes())["releases"]


def store(hub):
    return open_store(hub.job.extra_env[names.ENV_STORE])


def commits(hub) -> list[CommitRecord]:
    return [each.record for each in history.committed(store(hub), hub.job.layout)]


def change(hub) -> dict[str, np.ndarray]:
    """What round 1 has made of the model, which is the update of its one site."""
    first, last = (load(store(hub).get(commit.model.key)) for commit in commits(hub)[:2])
    return {name: last[name].astype(np.float64) - first[name] for name in first}


@pytest.mark.parametrize("ranks", [1, 2])
def test_what_arrives_is_noise_over_a_clipped_update(tmp_path, made, ranks):
    hub = made()
    site = started(tmp_path / "site", hub)
    ended = site.end_ranks(site.start_ranks("Wide")) if ranks > 1 else [site.run("train", "Wide").code]
    assert ended == [0] * ranks, (site.folder / "log").read_text()
    found = change(hub)
    noised = np.concatenate(
        [found[name].reshape(-1) for name in ("0.weight", "0.bias", "1.weight", "1.bias", "2.weight")]
    )
    assert noised.std() == pytest.approx(2.0, rel=7 / np.sqrt(2 * noised.size))  # standard deviations
    assert not any(found[name].any() for name in found if "running" in name or "tracked" in name)
    assert len(releases(site)) == 3
    assert [commit.privacy.releases for commit in commits(hub)[1:]] == [1, 1, 1]
    assert commits(hub)[-1].privacy.mu == pytest.approx(1.0)


@pytest.mark.parametrize("where", ["train", "staged", "evaluate"])
def test_a_killed_site_sends_the_same_noise_and_counts_it_once(tmp_path, made, where):
    hub = made(compression=Compression(codec="Float16"))
    site = started(tmp_path / "site", hub, TINY_KILL=f"{where}:{tmp_path / 'killed'}")
    assert site.run("train", "Wide").code == -signal.SIGKILL
    known, before = models(hub), releases(site)
    ended = site.call("train", "Wide")
    assert ended.code == 0, ended.log
    assert models(hub)[: len(known)] == known
    after = releases(site)
    assert after[: len(before)] == before
    assert [each["round"] for each in after] == [1, 2, 3]


def test_a_lost_acknowledgement_is_answered_by_the_same_bytes(tmp_path, made):
    hub = made(rounds=1, inline=False)
    site = started(tmp_path / "site", hub, FEDLOOM_PATIENCE_S="0.2")
    hub.line.plan("updates", *[Answer(503)] * 50)
    assert site.call("train", "Wide").code == Exit.AGGREGATOR_LOST
    hub.line.mend()
    assert site.call("train", "Wide").code == 0
    sent = {each.said for each in hub.line.exchanges if each.route == "put" and "_round_1-" in each.path}
    assert len(sent) == 1
    assert len(releases(site)) == 1


@pytest.mark.parametrize(
    ("demand", "rounds", "words"),
    [
        ({"min_noise_multiplier": 2.5}, 0, "minNoiseMultiplier: the order asks for noiseMultiplier 2"),
        ({"max_epsilon": 7.0, "delta": 1e-5}, 2, "2 updates of this job were sent, and one more would make epsilon"),
    ],
)
def test_the_hub_gets_no_more_than_the_site_allows(tmp_path, made, demand, rounds, words):
    hub = made(max_failures=0)
    site = started(
        tmp_path / "site", hub, "WideAlone", FEDLOOM_REQUIRES_PRIVACY=PrivacyDemand(**demand).model_dump_json()
    )
    ended = site.call("train", "WideAlone")
    assert ended.code == 0, ended.log
    assert "PrivacyRefused: spec.requires.privacy" in ended.log
    assert len(hub.updates) == rounds
    outcome = until(lambda: hub.job.status().get("outcome"))
    assert (outcome["result"], outcome["reason"]) == ("Failed", "QuorumNotReached")
    assert words in outcome["message"]
