"""Rounds under masks through the real machine: sites of fedcore.secagg.site, a hub that is killed and goes on from its records."""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from fedapi.wire.commit import CommitRecord
from fedapi.wire.job import JobConfig
from fedapi.wire.message import ObjectRef
from fedapi.wire.plan import PlanRecord
from fedapi.wire.roster import RosterEntry
from fedapi.wire.secureround import SecureSaid, SecureSettings, StepRecord
from fedapi.wire.signature import SiteKey
from fedapi.wire.store import CloseRecord, FailureRecord, Head
from fedapi.wire.update import Payload, UpdateManifest
from fedcore.rounds import assignment, machine, recovery, secure, secureplan
from fedcore.rounds.effects import AddUp, Commit, Fold, Measure, WriteClose, WriteFailure, WritePlan, WriteStep
from fedcore.rounds.events import Accepted, Event, Folded, Heard, InitialModelFound, Measured, Said, SiteFailed, Ticked
from fedcore.rounds.recovery import Log
from fedcore.rounds.state import Phase, State
from fedcore.secagg import hub, masking, site
from fedcore.secagg.hub import HubState
from fedcore.secagg.site import SiteState
from fedcore.tensors.arithmetic import Array
from tests.unit.fedcore.secagg.federation import signing_key

ITEMS = 8
STEPS = ("Advertise", "Share", "Mask", "Consent", "Open")
TIMEOUT_S = 30.0
NEVER = len(STEPS)


def settings(**values) -> SecureSettings:
    return SecureSettings(**{"value_range": 4.0, "exchange_timeout_s": TIMEOUT_S} | values)


def key_of(name: str) -> SiteKey:
    return SiteKey(public_key=base64.b64encode(signing_key(name).public_key().public_bytes_raw()).decode())


def config(clients: Iterable[str] = "abcde", **values) -> JobConfig:
    names = tuple(clients)
    keys = {name: (key_of(name),) for name in names}
    asked = {"rounds": 2, "identities": keys, "deadline_s": 100.0, "uid": "uid", "quorum": "60%", "secure": settings()}
    roster = tuple(RosterEntry(name=name) for name in names)
    return JobConfig(namespace="ns", name="job", roster=roster, **asked | values)


def ref(name: str) -> ObjectRef:
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    return ObjectRef(key=f"models/{sha256}", sha256=sha256, size=100)


def vector(name: str, round_: int) -> Array:
    """What a site has trained, quantized."""
    return np.frombuffer(
        masking.keystream(hashlib.sha256(f"{name}/{round_}".encode()).digest(), 4 * ITEMS), "<u4"
    ).copy()


def samples(name: str) -> int:
    return 3 + ord(name[0]) % 5


@dataclass
class Federation:
    """A hub, what it has made durable, and its sites."""

    config: JobConfig = field(default_factory=config)
    now: float = 10.0
    epoch: int = 1
    state: State = None
    durable: list = field(default_factory=list)
    sites: dict[tuple[str, int, int], SiteState] = field(default_factory=dict)
    uploads: dict[str, Array] = field(default_factory=dict)  # by digest
    folds: list[Fold] = field(default_factory=list)

    def start(self) -> "Federation":
        self.state = State(self.config, self.epoch)
        self.do(InitialModelFound(self.now, ref("model 0")))
        self.hear()
        return self

    def hear(self) -> None:
        for name in [entry.name for entry in self.config.roster]:
            self.do(Heard(self.now, (name,)))

    def do(self, event: Event) -> None:
        self.state, effects = machine.step(self.state, event)
        self._perform(effects)

    def _perform(self, effects) -> None:
        for effect in effects:
            match effect:
                case WritePlan(record) | WriteStep(record) | WriteClose(record) | WriteFailure(record) | Commit(record):
                    self.durable.append(type(record).stored(record.sealed().canonical()))
                case Measure():
                    self.do(Measured(self.now, ITEMS))
                case Fold():
                    self.folds.append(effect)
                case AddUp():
                    self.do(self.added_up(effect))

    def added_up(self, order: AddUp) -> Event:
        """What becomes of a sum of encrypted updates."""
        raise NotImplementedError

    def kill(self) -> None:
        """A process that knows what is durable alone goes on."""
        self.epoch += 1
        commits = tuple(self.of(CommitRecord))
        round_ = commits[-1].round + 1
        head = Head(epoch=self.epoch, round=commits[-1].round, commit_sha256=commits[-1].digest())
        log = Log(
            head=head,
            commits=commits,
            plans=tuple(each for each in self.of(PlanRecord) if each.round == round_),
            failures=tuple(each for each in self.of(FailureRecord) if each.round == round_),
            closes=tuple(each for each in self.of(CloseRecord) if each.round == round_),
            steps=tuple(each for each in self.of(StepRecord) if each.round == round_),
            manifests=tuple(each for each in self.of(UpdateManifest) if each.round == round_),
        )
        self.state, effects = recovery.recovered(self.config, log, self.now)
        self._perform(effects)
        self.do(Ticked(self.now))

    def of(self, kind):
        return [each for each in self.durable if isinstance(each, kind)]

    @property
    def step(self) -> str:
        return self.state.current.secure.step

    def site(self, name: str) -> SiteState:
        """What a site keeps of the attempt; one that has begun none begins it."""
        plan = self.state.current.plan
        where = (name, plan.round, plan.attempt)
        if where not in self.sites:
            terms = secureplan.terms(plan, plan.secure)
            seed = hashlib.sha256(f"{where}".encode()).digest()
            self.sites[where] = site.start(name, terms, terms.roster, seed)
        return self.sites[where]

    def keep(self, state: SiteState) -> None:
        self.sites[state.site, state.terms.round, state.terms.attempt] = SiteState.stored(state.sealed().canonical())

    def answer(self, name: str):
        plan = self.state.current.plan
        return secure.answer(self.state, name, plan.round, plan.attempt)

    def go_on(self, name: str) -> str:
        """A site does what it is told next; which step that was."""
        plan, told = self.state.current.plan, self.answer(name)
        if told.step in ("Wait", "Over"):
            return told.step
        assert assignment.kind(self.state, name, None) == "Train", "one that is restarted gets its order again"
        state, sign = self.site(name), signing_key(name).sign
        said = None
        match told.step:
            case "Advertise":
                said = {"advertisement": site.advertise(state, sign), "samples": samples(name)}
            case "Share":
                state, shares = site.share(state, told.participants)
                said = {"shares": shares}
            case "Mask":
                update = vector(name, plan.round)
                state = site.mask(state, told.delivery, update)
                self.uploads[state.masked_sha256] = update
            case "Consent":
                state, consent = site.consent(state, told.survivors, sign)
                said = {"consent": consent}
            case "Open":
                said = {"opening": site.open_(state, told.request)}
        self.keep(state)
        if said is None:
            self.hand_in(name, state.masked_sha256)
        else:
            self.say(name, **said)
        return told.step

    def say(self, name: str, **said):
        plan = self.state.current.plan
        message = SecureSaid.model_validate_json(
            SecureSaid(round=plan.round, attempt=plan.attempt, **said).model_dump_json(exclude_none=True)
        )
        refused = secure.said(self.state, name, message)
        self.do(Said(self.now, name, message))
        return refused

    def manifest(self, name: str, sha256: str, **values) -> UpdateManifest:
        plan = self.state.current.plan
        payload = ObjectRef(key=self.state.layout.update(name, plan.round, sha256), sha256=sha256, size=4 * ITEMS)
        said = {
            "job_uid": "uid",
            "round": plan.round,
            "attempt": plan.attempt,
            "client": name,
            "samples": samples(name),
        }
        said |= {"payloads": {"update": Payload(object=payload, masked=True)}, "training_s": 1.0, "nonce": "n" * 16}
        return UpdateManifest(**{**said, "base_sha256": plan.base.sha256} | values)

    def hand_in(self, name: str, sha256: str) -> None:
        said = self.manifest(name, sha256)
        self.durable.append(said)
        self.do(Accepted(self.now, said))

    def fail(self, name: str) -> None:
        plan = self.state.current.plan
        self.do(SiteFailed(self.now, name, plan.round, plan.attempt, "TaskFailed", "it broke"))

    def close_step(self) -> None:
        """Whoever has not come is waited for no longer."""
        self.now = machine.wakes_at(self.state) + 1.0
        self.do(Ticked(self.now))

    def total(self) -> Array:
        """The sum that the fold of the last closed attempt is given."""
        order = self.folds[-1]
        state = HubState.stored(order.secure.sealed().canonical())
        found = np.zeros(ITEMS, np.uint32)
        for term in order.terms:
            masking.add(found, self.uploads[term.payloads["update"].object.sha256])
        masking.apply(found, hub.masks(state))
        return found

    def commit(self) -> CommitRecord:
        plan = self.state.current.plan
        assert self.state.phase is Phase.FOLDING
        self.do(Folded(self.now, plan.round, plan.attempt, ref(f"model {plan.round}")))
        return self.of(CommitRecord)[-1]

    def with_config(self, **values) -> None:
        self.config = self.config.model_copy(update=values)
        self.state = replace(self.state, config=self.config)


def plain_sum(names: Iterable[str], round_: int = 1) -> Array:
    return np.sum([vector(name, round_) for name in names], axis=0, dtype=np.uint32)


def is_open(federation: Federation, plan: PlanRecord, step: str) -> bool:
    under_way = federation.state.current
    open_ = federation.state.phase in (Phase.COLLECTING, Phase.OPENING)
    return open_ and under_way.plan.attempt == plan.attempt and under_way.secure.step == step


def attempt(federation: Federation, lost: dict[str, int], killed: frozenset[int] = frozenset()) -> None:
    """One attempt, in which sites stop before a step, and the hub is killed in the middle and at the end of some."""
    plan = federation.state.current.plan
    for at, step in enumerate(STEPS):
        assert federation.step == step
        names = [name for name in plan.selected if lost.get(name, NEVER) > at]
        for number, name in enumerate(names):
            if is_open(federation, plan, step):
                federation.go_on(name)
            if at in killed and number == len(names) // 2:
                federation.kill()
        for name in names:  # asked again after a kill
            if is_open(federation, plan, step):
                federation.go_on(name)
        if is_open(federation, plan, step):
            federation.close_step()
        if federation.state.current is None or federation.state.current.plan.attempt != plan.attempt:
            return
        if at in killed:
            federation.kill()
