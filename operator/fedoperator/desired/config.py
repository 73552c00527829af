"""JobConfig from a FederatedJob (the API's strings become numbers here), and the ConfigMap that carries it.

The aggregator reads the mounted file anew before every plan; a change never restarts it.
"""

import json

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob, Stop
from fedapi.crd.training import Training
from fedapi.duration import seconds
from fedapi.jsonvalue import Json
from fedapi.wire.job import (
    JobConfig,
    OptimizerSettings,
    RollbackTo,
    RosterEntry,
    StopRule,
    StrategySettings,
    TrainingSettings,
)
from fedoperator.desired import store_place
from fedoperator.desired.identity import Identity


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _stop(stop: Stop | None) -> StopRule | None:
    if stop is None:
        return None
    return StopRule(metric=stop.metric, goal=stop.goal, target=_number(stop.target), patience=stop.patience)


def _training(training: Training) -> TrainingSettings:
    optimizer = training.optimizer
    by_steps = training.local_steps is not None
    return TrainingSettings(
        epochs=None if by_steps else training.epochs or 1,
        local_steps=training.local_steps,
        batch_size=training.batch_size,
        batch_per=training.batch_per,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        mixed_precision=training.mixed_precision,
        learning_rate_scaling=training.learning_rate_scaling,
        warmup_steps=training.warmup_steps,
        checkpoint_every_s=seconds(training.checkpoint_every),
        determinism=training.determinism,
        optimizer=OptimizerSettings(
            name=optimizer.name,
            learning_rate=float(optimizer.learning_rate),
            momentum=_number(optimizer.momentum) or 0.0,
            weight_decay=_number(optimizer.weight_decay) or 0.0,
        ),
    )


def job_config(job: FederatedJob, roster: tuple[RosterEntry, ...]) -> JobConfig:
    """What the aggregator needs to know of a job. Durations in seconds, decimal strings as floats."""
    identity, spec = Identity.of(job), job.spec
    grace = spec.round.grace_after_quorum
    return JobConfig(
        namespace=identity.namespace,
        name=identity.name,
        uid=identity.uid,
        rounds=spec.rounds,
        seed=spec.seed,
        strategy=StrategySettings(name=spec.strategy.name, parameters=spec.strategy.parameters()),
        policy=spec.clients.policy,
        per_round=spec.clients.per_round,
        fraction=_number(spec.clients.fraction),
        min_available=spec.clients.min_available,
        quorum=spec.round.quorum,
        deadline_s=seconds(spec.round.deadline),
        grace_after_quorum_s=None if grace is None else seconds(grace),
        max_failures=spec.round.max_failures,
        max_samples=spec.clients.max_samples,
        stop=_stop(spec.stop),
        rollback_to=RollbackTo(round=back.round, id=back.id) if (back := spec.rollback_to) else None,
        training=_training(spec.training),
        lifetime=spec.training.lifetime,
        image=spec.task.image,
        history_keep=keep if isinstance(keep := spec.storage.history.keep, int) else None,
        store_uri=store_place.uri(spec.storage.bucket, identity.claim),
        encryption=spec.storage.encrypted_by,
        residency=tuple(spec.storage.residency or ()),
        roster=roster,
    )


def config_map(job: FederatedJob, roster: tuple[RosterEntry, ...]) -> Json:
    """The ConfigMap with the JobConfig as JSON, sorted so that the same job gives the same bytes."""
    identity = Identity.of(job)
    text = json.dumps(job_config(job, roster).model_dump(mode="json"), sort_keys=True, indent=1)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": identity.metadata(identity.aggregator, names.ROLE_AGGREGATOR),
        "data": {names.CONFIG_FILE: text},
    }
