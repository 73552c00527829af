"""Policy roster: which sites the aggregator waits for."""

import base64

import pytest

from fedapi import names
from fedapi.wire.job import JobConfig
from fedoperator.decide.decision import Key
from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s


def _ready(status: str, generation: int) -> s.Json:
    condition = {"type": "Ready", "status": status, "reason": "R", "lastTransitionTime": s.ago(1)}
    return {"conditions": [condition | {"observedGeneration": generation}]}


def test_paused_and_unready_sites_are_told_to_the_aggregator():
    clients = (
        s.site("a"), s.site("b", paused=True), s.site("c", status=_ready("False", 1)),
        s.site("d", status=_ready("False", 0)), s.site("e", labels={"x": "y"}, status=_ready("True", 1)),
    )  # fmt: skip
    assert s.roster(decide(s.observe(clients=clients), s.NOW)) == {
        "a": (True, ""), "b": (False, "Paused"), "c": (False, "NotReady"),
        "d": (True, ""),  # the condition is about an older generation
        "e": (True, ""),
    }  # fmt: skip


TOKEN = {
    "publicKey": base64.b64encode(bytes(32)).decode(),
    "notAfter": "2027-01-01T00:00:00Z",
    "caFingerprints": ["0" * 64],
}
KEYS = {"keys": [{"publicKey": base64.b64encode(bytes(32)).decode()}]}


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"enrollment": {}}, "NotEnrolled"),
        ({"enrollment": {"joinToken": TOKEN}}, "NotEnrolled"),
        ({"enrollment": {}, "identity": KEYS}, ""),
        ({"enrollment": {"joinToken": TOKEN}, "identity": KEYS}, ""),  # it enrolls a further key
        ({"enrollment": {}, "paused": True}, "Paused"),
    ],
)
def test_a_site_that_has_to_enroll_takes_no_part_before(spec, reason):
    decision = decide(s.observe(clients=(s.site("a"), s.site("b", **spec))), s.NOW)
    assert s.roster(decision) == {"a": (True, ""), "b": (not reason, reason)}


HELD_OUT = {"heldOut": {"selector": {"matchLabels": {"role": "validation"}}, "everyRounds": 2}}


def test_held_out_sites_are_told_to_the_aggregator_and_are_in_no_stratum():
    clients = (
        s.site("a"),
        s.site("v", labels={"role": "validation"}),
        s.site("w", {"role": "validation"}, paused=True),
    )
    stratified = {"policy": "Stratified", "perRound": 1, "stratified": {"fields": ["Region"]}}
    decision = decide(s.observe(s.job(evaluation=HELD_OUT, clients=stratified), clients=clients), s.NOW)
    text = next(o for o in decision.objects if o["kind"] == "ConfigMap")["data"][names.CONFIG_FILE]
    told = JobConfig.model_validate_json(text)
    assert {entry.name: (entry.held_out, entry.eligible, entry.stratum) for entry in told.roster} == {
        "a": (False, True, 0), "v": (True, True, None), "w": (True, False, None),
    }  # fmt: skip
    assert told.evaluation.every_rounds == 2


@pytest.mark.parametrize(
    ("who", "asked"),
    [
        ({}, ("a", "v", "w")),
        ({"clients": ["w", "gone"]}, ("w", "gone")),  # of one that is not there the answer is missing
        ({"selector": HELD_OUT["heldOut"]["selector"]}, ("v", "w")),
    ],
)
def test_whom_an_evaluation_is_asked_of(who, asked):
    clients = (s.site("a"), s.site("v", {"role": "validation"}), s.site("w", {"role": "validation"}))
    job = s.job(evaluation=HELD_OUT | {"request": {"round": 4, "id": "x", **who}})
    decision = decide(s.observe(job, clients=clients), s.NOW)
    text = next(o for o in decision.objects if o["kind"] == "ConfigMap")["data"][names.CONFIG_FILE]
    request = JobConfig.model_validate_json(text).evaluation.request
    assert (request.round, request.id, request.clients) == (4, "x", asked)


VERIFIER = {"url": "https://as.example.org/attestation", "publicKey": "-----BEGIN PUBLIC KEY-----\nMCow\n"}


@pytest.mark.parametrize(
    ("offered", "reason"),
    [(None, "NotConfidential"), ("TDX", "NotConfidential"), ("SEV-SNP", "")],
)
def test_a_site_that_demands_a_confidential_aggregator_waits_for_a_job_that_offers_one(offered, reason):
    """That the aggregator is what it says, it has to prove to the site itself."""
    measured = [{"claim": "snp.measurement", "values": ["5a"]}]
    demand = {"confidential": {"types": ["SEV-SNP"], "verifier": VERIFIER, "measurements": measured}}
    clients = (s.site("a"), s.site("b", requires=demand))
    aggregator = {"confidential": {"type": offered, "platform": "Kata"}} if offered else {}
    job = s.job(aggregator=aggregator, storage={"clientEncryption": {"enabled": True}})
    decision = decide(s.observe(job, clients=clients), s.NOW)
    assert s.roster(decision) == {"a": (True, ""), "b": (not reason, reason)}


@pytest.mark.parametrize(
    ("privacy", "reason"),
    [
        (None, "NotPrivate"),
        ({"mode": "Central", "noiseMultiplier": "9"}, "NotPrivate"),
        ({"mode": "Local", "noiseMultiplier": "1.9"}, "NotPrivate"),
        ({"mode": "Local", "noiseMultiplier": "2.0"}, ""),
        ({"mode": "Local", "targetEpsilon": "8"}, ""),  # how much noise that is, the plan says to the site itself
    ],
)
def test_a_site_that_demands_noise_of_its_own_waits_for_a_job_that_asks_for_as_much(privacy, reason):
    clients = (s.site("a"), s.site("b", requires={"privacy": {"minNoiseMultiplier": "2"}}))
    asked = {"differentialPrivacy": {"clipNorm": "1", "delta": "1e-5", **privacy}} if privacy else None
    decision = decide(s.observe(s.job(privacy=asked), clients=clients), s.NOW)
    assert s.roster(decision) == {"a": (True, ""), "b": (not reason, reason)}


@pytest.mark.parametrize(
    ("demand", "privacy", "reason"),
    [
        ({}, None, "NotPrivate"),
        ({}, {"differentialPrivacy": {"mode": "Local", "noiseMultiplier": "9"}}, "NotPrivate"),
        ({}, {"homomorphicEncryption": {}}, "NotPrivate"),  # every site has the key
        ({}, {"secureAggregation": {}}, ""),
        ({"minNoiseMultiplier": "2"}, {"secureAggregation": {}}, "NotPrivate"),
        (
            {"minNoiseMultiplier": "2"},
            {"secureAggregation": {}, "differentialPrivacy": {"mode": "Distributed", "noiseMultiplier": "1.9"}},
            "NotPrivate",
        ),
        (
            {"minNoiseMultiplier": "2"},
            {"homomorphicEncryption": {}, "differentialPrivacy": {"mode": "Distributed", "noiseMultiplier": "2"}},
            "NotPrivate",
        ),
        (
            {"minNoiseMultiplier": "2"},
            {"secureAggregation": {}, "differentialPrivacy": {"mode": "Distributed", "noiseMultiplier": "2"}},
            "",
        ),
    ],
)
def test_a_site_that_is_seen_in_sums_alone_waits_for_a_job_that_sums_under_masks(demand, privacy, reason):
    clients = (s.site("a"), s.site("b", requires={"privacy": {"secureAggregation": True, **demand}}))
    if privacy and (noise := privacy.get("differentialPrivacy")):
        privacy = {**privacy, "differentialPrivacy": {"clipNorm": "1", "delta": "1e-5", **noise}}
    decision = decide(s.observe(s.job(privacy=privacy), clients=clients), s.NOW)
    assert s.roster(decision)["b"] == (not reason, reason)


def _told_keys(children, status):
    keyed = (s.site("berlin", identity=KEYS), s.TWO_SITES[1])
    decision = decide(s.observe(s.job(status), keyed, children), s.NOW)
    text = next(o for o in decision.objects if o["kind"] == "ConfigMap")["data"][names.CONFIG_FILE]
    return decision, set(JobConfig.model_validate_json(text).identities)


@pytest.mark.parametrize(("state", "goes"), [("Training", False), ("Accepted", True)])
def test_a_first_key_holds_from_the_training_job_on_that_can_sign(state, goes):
    """The Job before has no key: held to one at once, it would end, and its work with it."""
    before = s.observe(s.job(s.in_round(berlin=state)))
    children, old = s.live_children(before), Key("Job", s.job_name(before, "berlin"))
    decision, told = _told_keys(children, s.in_round(berlin=state))
    assert (old in decision.delete, told) == (goes, set())
    s.complete(children[old])
    assert _told_keys(children, s.in_round(berlin=state))[1] == {"berlin"}
    del children[old]
    assert _told_keys(children, s.in_round(berlin=state))[1] == {"berlin"}, (
        "nothing unsigned is taken while nobody is there"
    )


def test_a_further_key_holds_at_once():
    """The Job's Secret is mounted, whatever is in it: who has one key already is held to it all the time."""
    keyed = (s.site("berlin", identity=KEYS), s.TWO_SITES[1])
    children = s.live_children(s.observe(s.job(s.in_round(berlin="Training")), keyed))
    assert _told_keys(children, s.in_round(berlin="Training"))[1] == {"berlin"}
