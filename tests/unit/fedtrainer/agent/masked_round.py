"""Sites as the trainer's agent has them and a hub in memory, in a round under masks. Sites are lost, and killed, where a test says so."""

import hashlib
import itertools
from contextlib import closing
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from fedapi import names
from fedapi.wire import commonorder
from fedapi.wire.download import Download
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedapi.wire.orders import TrainOrder
from fedapi.wire.secagg import Terms
from fedapi.wire.secureround import SecureAnswer, SecureOrder, SecureSaid
from fedapi.wire.signing import SigningKey
from fedapi.wire.site import Receipt, UploadGrant
from fedapi.wire.training import TrainingSettings
from fedapi.wire.update import UPDATE, UpdateManifest
from fedcore.secagg import hub
from fedcore.secagg.hub import HubState
from fedstore.memory import MemoryStore
from fedtrainer.agent import securing
from fedtrainer.agent.checkpoint_store import CheckpointStore, Finished
from fedtrainer.agent.handing import Handing
from fedtrainer.agent.protecting import Protecting
from fedtrainer.agent.securing import Securing, Site
from fedtrainer.agent.securing_record import MaskedRounds
from fedtrainer.errors import RejectedError
from fedtrainer.settings import TrainerSettings

UID = "11111111-1111-4111-8111-111111111111"
LAYOUT = Layout("default", "job", UID)
STEPS = ("Advertise", "Share", "Mask", "Consent", "Open", "Over")
LIMIT = 8.0


def tensors(seed: int) -> dict[str, np.ndarray]:
    drawn = np.random.default_rng(seed)
    return {
        "weight": drawn.normal(size=(40, 30)).astype(np.float32),
        "half": drawn.normal(size=33).astype(np.float16),
        "wide": drawn.normal(size=7),
        "steps": np.array([3 + seed], np.int64),
    }


ITEMS = 40 * 30 + 33 + 7
PARAMETERS, PARAMETER_ITEMS = ("half", "weight"), 40 * 30 + 33  # of a job with noise, which tells nothing of buffers


class Hub:
    """Closes a step once all sites that are still there have spoken; `tamper` changes what it answers."""

    def __init__(self, terms: Terms, weighs: bool = True, tamper=lambda _site, answer: answer) -> None:
        self.state, self.samples, self.weighs, self.tamper = HubState(terms=terms), {}, weighs, tamper
        self.store, self.manifests = MemoryStore(), {}
        self.lost: dict[str, str] = {}  # site: the step that it does not make any more
        self.said: list[tuple[str, SecureSaid]] = []
        self.granted: set[tuple[str, str]] = set()  # site, and SHA-256 of what it uploads
        self.held = ""  # the step that it neither asks for nor closes

    def there(self, step: str, of) -> list[str]:
        return [name for name in of if STEPS.index(self.lost.get(name, "Over")) > STEPS.index(step)]

    def hear(self, site: str, said: SecureSaid) -> None:
        self.said.append((site, said))
        if said.advertisement:
            self.state = hub.advertised(self.state, said.advertisement)
            self.samples[site] = said.samples
        if said.shares:
            self.state = hub.shared(self.state, said.shares)
        if said.consent:
            self.state = hub.consented(self.state, said.consent)
        if said.opening:
            self.state = hub.opened(self.state, said.opening)

    def over(self) -> bool:
        """Whether all have opened the sum that are still there."""
        state = self.state
        return bool(state.request) and len(self.openers()) == len(self.there("Open", state.survivors.survivors))

    def openers(self):
        """Who has said what a sum needs."""
        return self.state.openings

    @property
    def step(self) -> str:
        done = (self.state.participants, self.state.sharers, self.state.survivors, self.state.request)
        return STEPS[sum(each is not None for each in done)]

    def close(self) -> None:
        state = self.state
        if state.participants is None and set(state.advertisements) >= set(self.there("Advertise", state.terms.roster)):
            self.state, _ = hub.participants(state, max(self.samples.values()) if self.weighs else None)
        elif (
            state.participants and state.sharers is None and set(state.shares) >= set(self.there("Share", self.samples))
        ):
            self.state, _ = hub.deliveries(state)
        elif (
            state.sharers
            and state.survivors is None
            and set(state.masked_sha256) >= set(self.there("Mask", state.sharers))
        ):
            self.state, _ = hub.survivors(state)
        elif (
            state.survivors
            and state.request is None
            and set(state.consents) >= set(self.there("Consent", state.survivors.survivors))
        ):
            self.state, _ = hub.request(state)

    def answer(self, site: str, said: SecureSaid) -> SecureAnswer:
        self.hear(site, said)
        if self.step == self.held:
            return SecureAnswer(step="Wait")
        self.close()
        if self.step == self.held:
            return SecureAnswer(step="Wait")
        asked = self._asked(site)
        return self.tamper(
            site,
            asked if asked.step in ("Over", "Wait") or self.there(asked.step, [site]) else SecureAnswer(step="Wait"),
        )

    def steps(self, site: str) -> list[tuple]:
        """Of each: what closes it, who is asked, who has answered, and the question."""
        state = self.state
        return [
            (state.participants, state.terms.roster, state.advertisements, lambda: SecureAnswer(step="Advertise")),
            (state.sharers, self.samples, state.shares, lambda: SecureAnswer(step="Share", participants=state.participants)),
            (state.survivors, state.sharers, state.masked_sha256, lambda: SecureAnswer(step="Mask", delivery=hub.deliveries(state)[1][site])),
            (state.request, state.survivors and state.survivors.survivors, state.consents, lambda: SecureAnswer(step="Consent", survivors=state.survivors)),
            (None, state.survivors and state.survivors.survivors, state.openings, lambda: SecureAnswer(step="Open", request=state.request)),
        ]  # fmt: skip

    def _asked(self, site: str) -> SecureAnswer:
        """What the hub waits for with a site: the first step whose words of it are not there, if it is that step's turn."""
        steps = self.steps(site)
        _, members, spoken, ask = next(step for step in steps if step[0] is None)
        if site not in members or (site in spoken and ask is steps[-1][3]):
            return SecureAnswer(step="Over")
        return SecureAnswer(step="Wait") if site in spoken else ask()

    def take(self, site: str, manifest: UpdateManifest) -> None:
        self.manifests[site] = manifest
        self.state = hub.masked(self.state, site, manifest.payloads[UPDATE].object.sha256)


class Link:
    """One site's control and bulk at once."""

    def __init__(self, hub_: Hub, site: str) -> None:
        self._hub, self._site = hub_, site

    def secure(self, said: SecureSaid) -> SecureAnswer:
        return self._hub.answer(self._site, said)

    def grant(self, request) -> UploadGrant:
        self._hub.granted.add((self._site, request.sha256))
        key = LAYOUT.update(self._site, request.round, request.sha256)
        ref = ObjectRef(key=key, sha256=request.sha256, size=request.size)
        return UploadGrant(url="https://hub/blob", expires_at=0.0, object=ref)

    def upload(self, path: Path, grant: UploadGrant) -> None:
        assert self._hub.store.put_once(grant.object.key, path.read_bytes()) == grant.object

    def download(self, what: Download, path: Path, name: str) -> None:
        data = self._hub.store.get(what.url)
        if (len(data), hashlib.sha256(data).hexdigest()) != (what.size, what.sha256):
            raise RejectedError("WrongDigest", name)
        path.write_bytes(data)

    def update(self, handed) -> Receipt:
        self._hub.take(self._site, handed.body)
        return Receipt()


class MaskedRound:
    """`samples` by site. Every turn of a site is a new process of it."""

    hub_of, scheme = Hub, None

    def __init__(
        self,
        root: Path,
        samples: dict[str, int],
        threshold: int = 3,
        privacy=None,
        overflow="Fail",
        limit=LIMIT,
        groups=None,
        **hub_,
    ) -> None:
        self.root, self.samples = root, samples
        self.keys = {name: SigningKey.of_seed(_drawn(name)) for name in samples}
        for name, key in self.keys.items():
            (root / name / "key").mkdir(parents=True)
            (root / name / "key" / names.FILE_SIGNING_KEY).write_bytes(key.pem())
        self.base = save(tensors(0))
        self.model = MemoryStore().put_once("base", self.base)
        self.order = self.ordered(1, threshold, privacy, overflow, limit, groups=groups)
        self.hub = self.hub_of(self.order.secure.terms, **hub_)
        self.updates = {name: tensors(1 + at) for at, name in enumerate(samples)}

    def ordered(self, attempt: int, threshold=3, privacy=None, overflow="Fail", limit=LIMIT, **changed) -> TrainOrder:
        values = {
            "job_uid": UID, "round": 4, "attempt": attempt, "base_sha256": self.model.sha256,
            "roster": {name: key.raw for name, key in self.keys.items()}, "threshold": threshold, "colluding": 0,
            "minimum_cohort": 2, "items": ITEMS, "limit": limit, "scheme": self.scheme,
        }  # fmt: skip
        names = PARAMETERS if privacy else None
        items = PARAMETER_ITEMS if privacy else ITEMS
        terms = Terms(**{**values, "items": items})
        secure = SecureOrder(terms=terms, overflow=overflow, tensors=names, privacy=privacy)
        model = Download(url="https://hub/model", sha256=self.model.sha256, size=self.model.size, expires_at=0.0)
        common = {"evaluate": False, "deadline": 0.0, "seed": 1, "training": TrainingSettings()}
        order = TrainOrder(round=4, attempt=attempt, model=model, secure=secure, **common)
        said = {"order_sha256": commonorder.of_order(order).sha256(), **changed}
        terms = Terms.model_validate({**dict(terms), **said})
        return order.model_copy(update={"secure": secure.model_copy(update={"terms": terms})})

    def settings(self, name: str, **more) -> TrainerSettings:
        told = {"entrypoint": "a:b", "job": "j", "job_uid": UID, "aggregator_url": "https://hub", "client": name}
        own = {"state_dir": self.root / name / "state", "signing_key_dir": self.root / name / "key"}
        return TrainerSettings.model_validate({**told, **own, **more})

    def turn(self, name: str, order: TrainOrder | None = None, **settings) -> bool:
        """A new process of a site goes on until the hub lets it wait."""
        order = order or self.order
        settings_ = self.settings(name, **settings)
        link = Link(self.hub, name)
        with closing(CheckpointStore(settings_)) as checkpoints:
            folder = checkpoints.order(order)
            if (finished := folder.finished()) is None:
                folder.update.write_bytes(save(self.updates[name]))
                size = folder.update.stat().st_size
                finished = Finished("0" * 64, size, self.samples[name], {}, 0.5, "n" * 32)
                folder.finish(finished)
            rounds = MaskedRounds(checkpoints.state.folder)
            own = Site(
                settings_,
                link,
                link,
                Handing(settings_, link, link),
                checkpoints,
                rounds,
                Protecting(settings_, checkpoints.state.folder),
                None,
            )
            return Securing(own, order, order.secure, folder, finished).go_on(waits=False)

    def run(self, lost: dict[str, str] | None = None) -> None:
        """All sites, turn by turn, until those that stay are over."""
        self.hub.lost = lost or {}
        for _ in range(3 * len(STEPS)):
            over = [self.turn(name) for name in self.hub.there(self.hub.step, self.samples)]
            if self.hub.over():
                return
        raise AssertionError(f"the round does not end: {over}")

    def plain_mean(self, survivors) -> dict[str, np.ndarray]:
        """By the rule of the quantization, in integers: what a sum under masks has to be, to the bit."""
        sites, whole = len(self.samples), max(self.samples[name] for name in self.hub.samples)
        levels = ((1 << 31) - 1) // sites
        weights = {name: self.samples[name] / whole for name in survivors}
        mean = {}
        for key, base in tensors(0).items():
            if base.dtype.kind != "f":
                mean[key] = np.zeros_like(base)
                continue
            steps = [
                np.rint(self.updates[name][key].astype(np.float64) * weights[name] * (levels / LIMIT)).astype(np.int64)
                for name in survivors
            ]
            mean[key] = (
                sum(steps) * (LIMIT / levels) / sum(weights[name] for name in sorted(survivors, key=self.samples.get))
            )
        return mean


def _drawn(of: object) -> bytes:
    return hashlib.sha256(repr(of).encode()).digest()


def seeded(monkeypatch) -> None:
    """Sites draw the same seeds in every run, so that masks and noise are the same, and what statistics say of them."""
    counted = itertools.count()
    monkeypatch.setattr(securing.os, "urandom", lambda size: _drawn(next(counted))[:size])


class KilledError(BaseException):
    """A site's process is no more."""


def killed_at(monkeypatch, call: int, *, heard: bool, site: str = "bob") -> list[str]:
    """The site dies at its so-manieth request, before the hub hears it or after; which requests it made."""
    made: list[str] = []

    def dying(method):
        def made_instead(self, *args):
            if self._site != site:
                return method(self, *args)
            made.append(method.__name__)
            if len(made) == call + 1 and not heard:
                raise KilledError
            answer = method(self, *args)
            if len(made) == call + 1:
                raise KilledError
            return answer

        return made_instead

    for name in ("secure", "grant", "upload", "update", "download"):
        monkeypatch.setattr(Link, name, dying(getattr(Link, name)))
    return made


def at_step(made: MaskedRound, step: str) -> MaskedRound:
    """A round that is at that step for all sites."""
    made.hub.held = step
    for _ in range(5):
        [made.turn(name) for name in made.samples]
    assert made.hub.step == step
    made.hub.held = ""
    return made


def asked_again(round_: MaskedRound, site: str, **changed) -> RejectedError:
    """The hub gives the site an answer with something else in it."""
    round_.hub.tamper = lambda name, answer: answer.model_copy(update=changed) if name == site else answer
    return refusal(lambda: round_.turn(site))


def refusal(act) -> RejectedError:
    try:
        act()
    except RejectedError as error:
        return error
    raise AssertionError("nothing was refused")
