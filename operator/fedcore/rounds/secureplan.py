"""How the updates of a round that is planned are summed, under masks or encrypted: by which keys, and with how many sites. Pure.

Called by planning, which freezes it, and asked before that which sites can take part at all.
"""

from collections.abc import Iterable
from dataclasses import replace

from fedapi.duration import quorum_count
from fedapi.wire import commonorder
from fedapi.wire.job import JobConfig
from fedapi.wire.plan import PlanRecord
from fedapi.wire.protocol import KEY
from fedapi.wire.secagg import Terms
from fedapi.wire.secureround import SecurePlan
from fedapi.wire.signature import key_id
from fedcore.rounds import signatures
from fedcore.rounds.effects import Effect, Measure
from fedcore.rounds.encryption import EncryptedExchange
from fedcore.rounds.exchange import Exchange
from fedcore.rounds.masks import MaskedExchange
from fedcore.rounds.state import State

_KEYLESS = (
    "it has no key of its own that is valid now, and sums that hide single updates go by the sites' keys: "
    "put its public key into spec.identity.keys of its FLClient (docs/security.md, Keys of sites)"
)


def is_noisy(config: JobConfig) -> bool:
    """Whether sites add the noise, before they mask or encrypt."""
    return config.privacy is not None and config.privacy.mode == "Distributed"


def due(state: State) -> tuple[State, tuple[Effect, ...]]:
    """The state in which the values of an update are being counted, where no plan can be made before that is known."""
    if state.config.secure is None or state.tip is None or state.measured is not None or state.measuring:
        return state, ()
    return replace(state, measuring=True), (
        Measure(state.tip.model, state.tip.hub_state, parameters=is_noisy(state.config)),
    )


def is_ready(state: State) -> bool:
    """Whether it is known."""
    return state.config.secure is None or state.measured is not None


def able(state: State, clients: Iterable[str], now: float) -> list[str]:
    """Those of some sites that can take part: with a key that no other one of them has."""
    names = sorted(clients)
    if state.config.secure is None:
        return names
    found: dict[bytes, str] = {}
    for client in names:
        if (key := key_of(state, client, now)) is not None:
            found.setdefault(key, client)
    return sorted(found.values())


def key_of(state: State, client: str, now: float) -> bytes | None:
    """The public key by which a site signs: the one that its trainer has said, else its newest that is valid; None: it has none."""
    speech = state.site(client).speech
    valid = [key for key in signatures.keys(state, client) if not key.revoked and signatures.is_valid(key, now)]
    said = [key for key in valid if speech is not None and f"{KEY}{key.id}" in speech.features]
    return (said or valid)[-1].raw if valid else None


def misfit(state: State, client: str) -> str:
    """Why a site cannot take part in the sum, with the way out; empty when it can, need not, or has not spoken yet."""
    attempt, speech = state.current, state.site(client).speech
    plan = attempt.plan.secure if attempt is not None and attempt.selected(client) else None
    if plan is None:
        has_key = any(not key.revoked for key in signatures.keys(state, client))
        return "" if has_key or state.config.secure is None else _KEYLESS
    if speech is None or f"{KEY}{key_id(plan.roster[client])}" in speech.features:
        return ""
    return signatures.keyless(state, client) or (
        f"it signs by another key than round {state.round} was planned with: it can take part in the next attempt"
    )


def planned(state: State, chosen: tuple[str, ...], now: float) -> SecurePlan | None:
    """What a plan says of it; None: each update is seen by itself."""
    asked, measured = state.config.secure, state.measured
    if asked is None or measured is None:
        return None
    wanted = state.config.quorum if asked.threshold is None else asked.threshold
    sound = (len(chosen) + asked.colluding) // 2 + 1
    roster = {client: key for client in chosen if (key := key_of(state, client, now)) is not None}
    return SecurePlan(
        roster=roster,
        threshold=max(sound, quorum_count(wanted, len(chosen))),
        colluding=asked.colluding,
        minimum_cohort=asked.cohort,
        items=measured.items,
        tensors=measured.tensors,
        value_range=asked.value_range,
        overflow=asked.overflow,
        exchange_timeout_s=asked.exchange_timeout_s,
        groups=asked.groups,
        scheme=asked.scheme,
        earlier_makers=tuple(sorted(roster.keys() & {each.maker for each in state.void})),
    )


def terms(plan: PlanRecord, secure: SecurePlan) -> Terms:
    """What the keys of its attempt are bound to."""
    return Terms(
        job_uid=plan.job_uid,
        round=plan.round,
        attempt=plan.attempt,
        base_sha256=plan.base.sha256,
        roster=secure.roster,
        threshold=secure.threshold,
        colluding=secure.colluding,
        minimum_cohort=secure.minimum_cohort,
        items=secure.items,
        limit=secure.value_range,
        order_sha256=commonorder.of_plan(plan, secure).sha256(),
        groups=secure.groups,
        scheme=secure.scheme,
        earlier_makers=secure.earlier_makers,
    )


def begun(plan: PlanRecord) -> Exchange | None:
    """The exchange of a fresh attempt by that plan; None: each update is seen by itself."""
    if plan.secure is None:
        return None
    from fedcore.homomorphic.hub import EncryptedState  # noqa: PLC0415 - `cryptography` is loaded where updates are summed so
    from fedcore.secagg.hub import HubState  # noqa: PLC0415 - as above

    agreed = terms(plan, plan.secure)
    if agreed.scheme is not None:
        return EncryptedExchange(EncryptedState(terms=agreed))
    return MaskedExchange(HubState(terms=agreed))
