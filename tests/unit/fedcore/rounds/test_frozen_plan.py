"""What was planned is what is folded and accepted, whatever the configuration says since; and records of 0.1 still read."""

from dataclasses import replace

from fedapi.wire.commit import CommitRecord
from fedapi.wire.compression import Compression
from fedapi.wire.job import JobConfig
from fedapi.wire.plan import PlanRecord
from fedapi.wire.store import CloseRecord, Head
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.update import UpdateEnvelope
from fedcore.rounds import admission, recovery
from fedcore.rounds.recovery import Log
from tests.unit.fedcore.rounds.test_round_rules import A, B, accept, collecting, manifest

INT8 = Compression(codec="Int8")
CHANGED = {
    "strategy": StrategySettings(name="Another", parameters={"momentum": 0.9}),
    "grace_after_quorum_s": 1.0,
    "max_samples": 1,
    "quorum": 1,
}


def restarted(state, plan: PlanRecord, **values):
    """The state after a restart in mid-round, with another configuration."""
    log = Log(
        Head(epoch=2, round=0, commit_sha256=state.tip_sha256),
        commits=(state.tip,),
        plans=(plan,),
        manifests=tuple(state.current.accepted.values()),
        **values,
    )
    return recovery.recovered(state.config.model_copy(update=CHANGED), log, 50.0)


def test_a_restart_after_a_changed_spec_folds_what_was_planned():
    state = collecting("ab", grace_after_quorum_s=30.0, max_samples=1000)
    for client in "ab":
        state, effects = accept(state, client)
    close = CloseRecord(job_uid="uid", round=1, attempt=1, accepted=("a", "b"), reason="Quorum", at=20.0)
    again, (fold,) = restarted(state, state.current.plan, closes=(close,))
    assert fold == effects[0]
    assert (again.current.quorum, again.current.grace_s, again.current.max_samples) == (2, 30.0, 1000)


def test_a_codec_is_what_was_planned():
    state = collecting("ab", compression=INT8)
    assert (state.current.plan.codec, state.current.plan.compression) == ("Int8", INT8)
    changed = {"compression": Compression(codec="TopK", fraction=0.1, error_feedback=True)}
    state = replace(state, config=state.config.model_copy(update=changed))
    said = manifest(state, "a")
    encoded = {name: payload.model_copy(update={"codec": "Int8"}) for name, payload in said.payloads.items()}
    assert admission.update(state, "a", said.model_copy(update={"payloads": encoded})) is None
    refused = admission.update(state, "a", said)
    assert refused.code == "Malformed"
    assert refused.message == "payloads.update.codec is None, round 1 asks for Int8: do as the order says"


def test_a_plan_without_codec_says_what_it_said_before():
    plan = collecting("ab").current.plan
    assert "compression" not in plan.model_dump(mode="json")
    assert plan.codec == "None"


def test_what_a_site_may_claim_is_what_was_planned():
    state = collecting("ab", max_samples=1000)
    state = replace(state, config=state.config.model_copy(update=CHANGED))
    assert admission.update(state, "a", manifest(state, "a", samples=1000)) is None
    assert admission.update(state, "a", manifest(state, "a", samples=1001)).code == "TooLarge"


def test_what_a_plan_of_version_0_1_lacks_is_taken_from_the_configuration():
    state = collecting("ab")
    state, _ = accept(state, "a")
    said = state.current.plan.model_dump(mode="json", exclude={"strategy", "codec", "selection", "acceptance"})
    again, _ = restarted(state, PlanRecord.model_validate(said))
    assert (again.current.grace_s, again.current.max_samples) == (1.0, 1)
    assert again.current.plan.strategy == StrategySettings(name="FedAvg"), "there was no other"


def test_a_configuration_of_version_0_1_names_its_strategy_alone():
    config = collecting("ab").config
    old = config.model_dump(mode="json") | {"strategy": "FedAvg"}
    assert JobConfig.model_validate(old) == config


def test_an_update_of_version_0_1_is_one_payload():
    today = manifest(collecting("ab"), "a")
    old = today.model_dump(mode="json", exclude={"payloads", "steps"}) | {
        "payload": today.payloads["update"].object.model_dump()
    }
    assert UpdateEnvelope.model_validate(old).body == today
    commit = CommitRecord.model_validate(
        {
            "job_uid": "uid", "round": 1, "attempt": 1, "epoch": 1, "model": today.objects[0].model_dump(),
            "planned_at": 1.0, "committed_at": 2.0, "previous_sha256": A,
            "participants": [{"client": "a", "samples": 5, "payload_sha256": B, "training_s": 2.0}],
        }
    )  # fmt: skip
    assert commit.participants[0].payloads == {"update": B}


def test_what_is_signed_is_what_the_site_said():
    """A later version's defaults are no part of it."""
    today = manifest(collecting("ab"), "a")
    said = today.canonical()
    assert b"metrics" not in said, "its default, which was not said"
    envelope = UpdateEnvelope(body=today).sealed()
    again = UpdateEnvelope.stored(envelope.canonical())
    assert (again.body.canonical(), again.canonical()) == (said, envelope.canonical())
    assert UpdateEnvelope(body=today, signature="A" * 86 + "==").body.canonical() == said
