"""A model card says what the records say: of real rounds in a store, after rollbacks and crashes, and nothing else."""

import json
from dataclasses import replace
from itertools import chain

import pytest

from fedapi.wire.commit import CommitRecord, Participant
from fedapi.wire.job import EvaluationSettings
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedapi.wire.plan import PlanRecord
from fedapi.wire.privacy import Charge, MatrixFactorization, Privacy, RecordPrivacy
from fedapi.wire.store import Head
from fedcli.volumerecords import VolumeRecords
from fedstore import cardpage, history, modelcard
from fedstore.disk import DiskStore
from fedstore.errors import MissingError
from fedstore.memory import MemoryStore
from fedstore.modelcard import Measurement, Site
from tests.property.fedaggregator.simulation import UID, Hub, job
from tests.unit.fedcli import test_volumerecords as volumes
from tests.unit.fedstore.test_historyrows import ROSTER, ran

LAYOUT = Layout("ns", "job", UID)


def hub():
    values = {"rounds": 2, "roster": ROSTER, "evaluation": EvaluationSettings(), "quorum": 1}
    return Hub(job("ab").model_copy(update=values))


def test_a_finished_job():
    done = ran(hub())
    card = modelcard.card(done.store, done.state.layout)
    commits = _commits(done)
    assert (card.uid, card.result, card.round) == (UID, "Succeeded", 2)
    assert card.model_sha256 == commits[-1].model.sha256
    assert card.rounds == 2
    by_hand = {}
    for each in chain.from_iterable(commit.participants for commit in commits):
        by_hand[each.client] = by_hand.get(each.client, 0) + 1
    assert {each.name: each.rounds for each in card.sites} == by_hand == {"a": 2, "b": 1}
    assert card.sites[1] == Site("b", 1, 1, 1, commits[1].participants[1].samples)
    assert card.missed == {"b": 1}
    assert card.settings["strategy"]["name"] == "FedAvg"
    assert card.evaluation is not None
    assert card.evaluation.round == 2


def test_correlated_noise_is_told_by_its_numbers():
    matrix = MatrixFactorization(bands=2, min_separation=2)
    asked = Privacy(mode="Central", clip_norm=1, noise_multiplier=1, delta=1e-5, matrix_factorization=matrix)
    done = Hub(job("ab", rounds=9, privacy=asked, policy="Random", per_round=2))
    done.start()
    done.hear("a", "b")
    for client in "ab":
        done.deliver(client)
    card = modelcard.card(done.store, done.state.layout)
    assert card.settings["privacy"]["row"] == {"bands": 2, "min_separation": 2, "since": 1}
    assert card.bound["privacy"]["row"]["since"] == 1


def _commits(done):
    head = history.read_head(done.store, done.state.layout)[0]
    return [*history.links(done.store, done.state.layout, head)][::-1]


def test_the_same_records_give_the_same_bytes_wherever_they_are(tmp_path):
    layout = Layout("ns", "job", "11111111-2222-3333-4444-555555555555")
    here = Hub(job("ab", uid=layout.uid))
    here.store = DiskStore(tmp_path)
    for call in (here.start, lambda: here.hear("a", "b"), lambda: here.deliver("a"), lambda: here.deliver("b")):
        call()
    first = modelcard.card(here.store, layout).text()
    assert modelcard.card(DiskStore(tmp_path), layout).text() == first
    with VolumeRecords.of([volumes.printed(tmp_path, *modelcard.RECORDS)]) as records:
        assert modelcard.card(records, records.layout).text() == first
    assert json.loads(first)["rounds"] == 1


def test_a_job_without_a_model_has_none():
    with pytest.raises(MissingError, match="no model is committed"):
        modelcard.card(MemoryStore(), LAYOUT)


def put(store, layout, commits, **head):
    """Such commits, bound to each other, and a HEAD at the last."""
    digest = None
    for commit in commits:
        record = commit.model_copy(update={"previous_sha256": digest}).sealed()
        key = layout.record(commit.round, 1, 1, "commit.json")
        store.put_once(key, record.canonical())
        digest = record.digest()
    told = Head(epoch=1, round=commits[-1].round, commit_key=key, commit_sha256=digest, **head)
    store.replace_head(layout.head, told.sealed().canonical(), None)


def commit(layout, round_, *clients, **values):
    model = ObjectRef(key=layout.model(round_, "0" * 64), sha256="0" * 64, size=9)
    parts = tuple(Participant(client=each, samples=10 * round_, payloads={}) for each in clients)
    at = 1000.0 * round_
    return CommitRecord(
        job_uid=UID, round=round_, attempt=1, epoch=1, model=model, participants=parts, planned_at=at,
        committed_at=at + 5, image=f"task:{round_ // 3}" if round_ else "", **values,
    )  # fmt: skip


def test_what_a_rollback_took_back_is_not_in_the_model():
    store, layout = MemoryStore(), LAYOUT
    commits = [
        commit(layout, 0),
        commit(layout, 1, "a", "b"),
        commit(layout, 2, "a", "gone"),
        commit(layout, 3, "gone"),
        commit(layout, 4, rolled_back_to=1),
        commit(layout, 5, "a", missed=("b",)),
        commit(layout, 6, skipped="nobody was there"),
    ]
    put(store, layout, commits, finished="Succeeded", reason="AllRounds", finished_at=9999.0)
    card = modelcard.card(store, layout)
    assert card.sites == (Site("a", 2, 1, 5, 50), Site("b", 1, 1, 1, 10))
    assert (card.rounds, card.skipped, card.taken_back, card.missed) == (2, 1, 2, {"b": 1})
    assert card.images == ("task:0", "task:1", "task:2")
    assert (card.began, card.finished) == ("1970-01-01T00:00:05Z", "1970-01-01T02:46:39Z")
    assert card.settings == {}, "no plan is there"
    assert "2 rounds were taken back" in cardpage.page(card)


def test_what_is_spent_is_what_the_newest_charge_says_although_its_round_was_taken_back():
    store, layout = MemoryStore(), LAYOUT
    numbers = {"mode": "Central", "clip_norm": 1.0, "noise_multiplier": 2.0, "delta": 1e-5}
    spent = [Charge(**numbers, epsilon=epsilon) for epsilon in (1.5, 2.25)]
    commits = [
        commit(layout, 0),
        commit(layout, 1, "a", privacy=spent[0]),
        commit(layout, 2, "a", privacy=spent[1]),
        commit(layout, 3, rolled_back_to=1),
    ]
    put(store, layout, commits)
    card = modelcard.card(store, layout)
    assert (card.rounds, card.bound["privacy"]["epsilon"], card.bound["privacy"]["unit"]) == (1, 2.25, "Site")
    page = cardpage.page(card)
    assert "| privacy.epsilon | 2.25 |" in page.replace("\\", "")
    assert "| privacy.adjacency | ZeroOut |" in page.replace("\\", "")


@pytest.mark.parametrize("silent", [False, True])
def test_what_is_told_of_records_is_the_largest_that_a_site_has_said(silent):
    store, layout = MemoryStore(), LAYOUT
    commits = [commit(layout, 0), commit(layout, 1, "a", "b"), commit(layout, 2, "a", "b"), commit(layout, 3, "a")]
    said = {(1, "a"): 1.0, (1, "b"): 3.5, (2, "a"): 1.5, (2, "b"): 2.5, (3, "a"): 2.0}
    if silent:
        del said[1, "b"]
    told = [
        each.model_copy(
            update={
                "participants": tuple(
                    p.model_copy(
                        update={"privacy": RecordPrivacy(epsilon=said[each.round, p.client], delta=1e-3)}
                        if (each.round, p.client) in said
                        else {}
                    )
                    for p in each.participants
                )
            }
        ).sealed()
        for each in commits
    ]
    put(store, layout, told)
    card = modelcard.card(store, layout)
    largest = {"unit": "Record", "epsilon": 3.5, "delta": 1e-3, "site": "b"}
    assert card.bound.get("record_privacy") == (None if silent else largest)
    assert ("record_privacy.unit | Record" in cardpage.page(card).replace("\\", "")) is not silent


def test_a_round_without_noise_leaves_no_epsilon_that_holds():
    """A job with privacy was restored as one without."""
    store, layout = MemoryStore(), LAYOUT
    spent = Charge(mode="Central", clip_norm=1.0, noise_multiplier=2.0, delta=1e-5, epsilon=1.5)
    put(store, layout, [commit(layout, 0), commit(layout, 1, "a", privacy=spent), commit(layout, 2, "a")])
    card = modelcard.card(store, layout)
    assert "privacy" not in card.bound
    assert "epsilon" not in cardpage.page(card)


def test_a_plan_is_told_as_it_is():
    done = ran(hub())
    plan = _commits(done)[-1]
    key = done.state.layout.record(2, plan.epoch, plan.attempt, "plan.json")
    record = PlanRecord.stored(done.store.get(key))
    card = modelcard.card(done.store, done.state.layout)
    assert card.settings["training"] == record.training.model_dump(mode="json", exclude_none=True)
    assert card.settings["selected"] == 2


GOLDEN = """# Model card: heart\\_disease

FederatedJob `lab/heart_disease` (uid), succeeded at 2026-01-02T03:04:05Z (AllRounds).

## Model
|  |  |
|---|---|
| round | 2 |
| SHA-256 | `aa` |
| bytes | 7 |
| committed | 2026-01-02T03:04:00Z |
| head of the chain of commits, SHA-256 | `cc` |
| images | `task:1` |

## Rounds
2 rounds with updates are in the model, from 2026-01-01T00:00:00Z to 2026-01-02T03:04:00Z.

## Sites
1 sites, 30 samples. Samples are what each site claimed with its last update.

| site | samples | rounds | first | last | without an update |
|---|---|---|---|---|---|
| berlin | 30 | 2 | 1 | 2 | 1 |

## Metrics
Means over the sites, weighted by their test samples.

| metric | value | model of round | measured by | samples |
|---|---|---|---|---|
| a\\|b &lt;i&gt;\\\\n\\# | 0.5 | 2 | 1 sites that train | 12 |

## How it was trained
As the plan of the last round with updates has it.

| setting | value |
|---|---|
| strategy.name | FedAvg |
| strategy.parameters.mu | 0.1 |

## What this card does not say
Samples and metrics are what sites said of data that nobody else can see. Backups are made of what this card is about,
later: `fedloom backup list` tells them.
"""
CARD = modelcard.Card(
    format=modelcard.FORMAT, namespace="lab", job="heart_disease", uid="uid", lineage=(), result="Succeeded",
    reason="AllRounds", finished="2026-01-02T03:04:05Z", round=2, model_sha256="aa", model_bytes=7, model_key="models/x",
    initial_sha256="", began="2026-01-01T00:00:00Z", committed="2026-01-02T03:04:00Z", rounds=2, skipped=0, taken_back=0,
    sites=(Site("berlin", 2, 1, 2, 30),), missed={"berlin": 1},
    settings={"strategy": {"name": "FedAvg", "parameters": {"mu": 0.1}}, "compression": None},
    evaluation=Measurement(2, {"a|b <i>\n#": 0.5}, 12, 1), held_out=None, images=("task:1",), restored_from="", bound={},
    commit_sha256="cc",
)  # fmt: skip


def test_the_page():
    assert cardpage.page(CARD) == GOLDEN


def test_the_page_of_a_job_that_goes_on_and_of_many_sites():
    many = tuple(Site(f"site-{number:03}", 1, 1, 1, 1) for number in range(250))
    page = cardpage.page(replace(CARD, result="", sites=many, evaluation=None, settings={}))
    assert "not finished: this is its model of round 2" in page
    assert page.count("| site-") == cardpage.MOST_SITES
    assert "150 more are in the card as JSON." in page
    assert "Nobody has evaluated the model." in page


def test_json_is_whole():
    told = json.loads(CARD.text())
    assert (told["format"], told["sites"][0]["name"]) == ("fedloom.dev/model-card/v1", "berlin")
