"""JobConfig from a FederatedJob (the API's strings become numbers here), and the ConfigMap that carries it.

The aggregator reads the mounted file anew before every plan; a change never restarts it.
"""

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType

from fedapi import names
from fedapi.crd import evaluation as api
from fedapi.crd.clients import Clients
from fedapi.crd.evaluation import Evaluation
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.rounds import Stop
from fedapi.crd.strategy import Strategy
from fedapi.crd.training import Training
from fedapi.duration import seconds
from fedapi.jsonvalue import Json
from fedapi.wire.job import EvaluationRequest, EvaluationSettings, JobConfig, RollbackTo, StopRule
from fedapi.wire.privacy import DPSGD
from fedapi.wire.roster import RosterEntry
from fedapi.wire.signature import SiteKey
from fedapi.wire.strategy import PreAggregation, StrategySettings
from fedapi.wire.training import OptimizerSettings, TrainingOverride, TrainingSettings
from fedoperator.desired import store_place
from fedoperator.desired.identity import Identity


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _stop(stop: Stop | None) -> StopRule | None:
    if stop is None:
        return None
    return StopRule(metric=stop.metric, goal=stop.goal, target=_number(stop.target), patience=stop.patience)


def _strategy(strategy: Strategy, clients: Clients) -> StrategySettings:
    pre = strategy.pre_aggregation
    mixing = pre and PreAggregation(name=pre.name, byzantine=pre.byzantine or 0, bucket_size=pre.bucket_size or 1)
    return StrategySettings(
        name=strategy.entry,
        parameters=strategy.parameters(),
        pre_aggregation=mixing,
        root=strategy.root,
        sub_models=(strategy.sub_models or "Overlap") if clients.widths else None,
        fragments=strategy.fragments,
    )


def _training(training: Training, dp_sgd: DPSGD | None) -> TrainingSettings:
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
        exchange=tuple(training.exchange or ()),
        local_parameters=tuple(training.local_parameters or ()),
        dp_sgd=dp_sgd,
    )


def _overrides(clients: Clients) -> tuple[TrainingOverride, ...]:
    return tuple(
        TrainingOverride(
            batch_size=each.batch_size, epochs=each.epochs, local_steps=each.local_steps, model_width=each.width
        )
        for each in clients.overrides or ()
    )


def _evaluation(evaluation: Evaluation | None, asked: tuple[str, ...]) -> EvaluationSettings | None:
    if evaluation is None:
        return None
    request = evaluation.request and _request(evaluation.request, asked)
    every_rounds = evaluation.held_out.every_rounds if evaluation.held_out else 1
    return EvaluationSettings(every_rounds=every_rounds, request=request)


def _request(request: api.EvaluationRequest, asked: tuple[str, ...]) -> EvaluationRequest:
    selection = ""
    if request.clients is None:
        selector = request.selector.model_dump_json() if request.selector else "all"
        selection = hashlib.sha256(selector.encode()).hexdigest()
    return EvaluationRequest(round=request.round, id=request.id, clients=asked, selection=selection)


Identities = Mapping[str, tuple[SiteKey, ...]]
NO_KEYS: Identities = MappingProxyType({})


def job_config(
    job: FederatedJob,
    roster: tuple[RosterEntry, ...],
    strata: tuple[str, ...] = (),
    asked: tuple[str, ...] = (),
    identities: Identities = NO_KEYS,
) -> JobConfig:
    """What the aggregator needs to know of a job. Durations in seconds, decimal strings as floats.

    `strata`: what the roster's numbers of them stand for. `asked`: the sites of spec.evaluation.request. `identities`: keys of those
    sites that have some.
    """
    identity, spec = Identity.of(job), job.spec
    grace, privacy = spec.round.grace_after_quorum, spec.privacy
    return JobConfig(
        namespace=identity.namespace,
        name=identity.name,
        uid=identity.uid,
        rounds=spec.rounds,
        seed=spec.seed,
        strategy=_strategy(spec.strategy, spec.clients),
        policy=spec.clients.policy,
        per_round=spec.clients.per_round,
        fraction=_number(spec.clients.fraction),
        min_available=spec.clients.min_available,
        quorum=spec.round.quorum,
        deadline_s=seconds(spec.round.deadline),
        grace_after_quorum_s=None if grace is None else seconds(grace),
        max_staleness=spec.round.max_staleness,
        over_selection=_number(spec.round.over_selection),
        max_failures=spec.round.max_failures,
        max_samples=spec.clients.max_samples,
        certificates=spec.clients.certificates,
        stop=_stop(spec.stop),
        rollback_to=RollbackTo(round=back.round, id=back.id) if (back := spec.rollback_to) else None,
        training=_training(spec.training, privacy.dp_sgd.told(spec.rounds) if privacy and privacy.dp_sgd else None),
        lifetime=spec.training.lifetime,
        image=spec.task.image,
        history_keep=keep if isinstance(keep := spec.storage.history.keep, int) else None,
        store_uri=store_place.uri(spec.storage.bucket, identity.claim),
        encryption=spec.storage.encrypted_by,
        compression=spec.compression.told() if spec.compression else None,
        download=spec.compression.told_download() if spec.compression else None,
        download_delta=bool(spec.compression and spec.compression.download and spec.compression.download.delta),
        residency=tuple(spec.storage.residency or ()),
        anomalies=spec.anomalies.told() if spec.anomalies else None,
        strata=strata,
        overrides=_overrides(spec.clients),
        evaluation=_evaluation(spec.evaluation, asked),
        identities=dict(identities),
        privacy=privacy.differential_privacy.told() if privacy and privacy.differential_privacy else None,
        secure=privacy.sum_alone.told() if privacy and privacy.sum_alone else None,
        roster=roster,
    )


def config_map(
    job: FederatedJob,
    roster: tuple[RosterEntry, ...],
    strata: tuple[str, ...] = (),
    asked: tuple[str, ...] = (),
    identities: Identities = NO_KEYS,
) -> Json:
    """The ConfigMap with the JobConfig as JSON, sorted so that the same job gives the same bytes."""
    identity = Identity.of(job)
    text = json.dumps(
        job_config(job, roster, strata, asked, identities).model_dump(mode="json"), sort_keys=True, indent=1
    )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": identity.metadata(identity.aggregator, names.ROLE_AGGREGATOR),
        "data": {names.CONFIG_FILE: text},
    }
