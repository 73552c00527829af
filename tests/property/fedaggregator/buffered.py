"""Sites of a job with asynchronous rounds over the simulated hub: each keeps its order until it has answered it."""

import hashlib
from dataclasses import dataclass, field
from itertools import pairwise

from fedapi.wire.commit import CommitRecord
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.update import Payload, UpdateManifest
from fedcore.rounds import assignment
from fedcore.rounds.events import SiteFailed
from fedstore.errors import AlreadyExistsError
from tests.property.fedaggregator.simulation import Hub, job, update_of

CLIENTS = ("a", "b", "c", "d")


def strategy(buffer_size=2, learning_rate=0.5, exponent=0.5) -> StrategySettings:
    numbers = {"buffer_size": buffer_size, "learning_rate": learning_rate, "staleness_exponent": exponent}
    return StrategySettings(name="FedBuff", parameters=numbers)


def fedbuff(clients=CLIENTS, buffer_size=2, **values):
    return job(clients, strategy=strategy(buffer_size), **{"rounds": 1000, "max_staleness": 3} | values)


@dataclass(frozen=True)
class Order:
    round: int
    attempt: int
    base_sha256: str


@dataclass
class Sites:
    """What each site works on, and what it was answered."""

    hub: Hub
    orders: dict[str, Order] = field(default_factory=dict)
    answered: dict[tuple[str, int], str] = field(default_factory=dict)  # site and round of an order: the last answer

    def ask(self, client: str) -> str:
        """As a trainer does that has nothing to do."""
        order = self.orders.get(client)
        self.hub.hear(client)
        kind = assignment.kind(self.hub.state, client, (order.round, order.attempt) if order else None)
        if kind == "Train":
            plan = self.hub.state.current.plan
            self.orders[client] = Order(plan.round, plan.attempt, plan.base.sha256)
        elif kind == "Drop":
            del self.orders[client]
        return kind

    def work(self, client: str) -> str:
        """The next thing that it does."""
        return self.deliver(client) if client in self.orders else self.ask(client)

    def manifest(self, client: str, order: Order | None = None) -> UpdateManifest:
        order = order or self.orders[client]
        data, samples = update_of(client, order.round)
        sha256 = hashlib.sha256(data).hexdigest()
        key = self.hub.state.layout.update(client, order.round, sha256)
        try:
            payload = self.hub.store.put_once(key, data)
        except AlreadyExistsError:
            raise AssertionError(key) from None
        return UpdateManifest(
            job_uid=self.hub.config.uid, round=order.round, attempt=order.attempt, client=client, base_sha256=order.base_sha256,
            payloads={"update": Payload(object=payload)}, samples=samples, steps=2, training_s=1.0,
            nonce=f"{client}{order.round}-{order.attempt}".ljust(16, "x"),
        )  # fmt: skip

    def deliver(self, client: str) -> str:
        """Hands in what it has trained; a trainer that was answered, whatever it was, has no order any more."""
        order = self.orders.get(client)
        if order is None:
            return "NoOrder"
        answer = self.hub.offer(self.manifest(client))
        self.answered[client, order.round] = answer
        del self.orders[client]
        return answer

    def fail(self, client: str) -> None:
        order = self.orders.pop(client, None)
        if order is not None:
            self.hub.handle(SiteFailed(self.hub.now, client, order.round, order.attempt, "TaskFailed", "no"))


def orders(commit: CommitRecord) -> dict[str, int]:
    """By site, which round's order its update of a commit answers."""
    return {p.client: p.order.round if p.order else commit.round for p in commit.participants}


def again(config, commits: list[CommitRecord]) -> list[tuple[str, str | None]]:
    """Model and memory of each commit of an undisturbed run with the same buffers, whose updates come the other way round."""

    def sized(commit: CommitRecord | None):
        return strategy(len(commit.participants) if commit else 1)

    hub = Hub(config.model_copy(update={"strategy": sized(commits[1] if len(commits) > 1 else None)}))
    sites = Sites(hub)
    hub.start()
    hub.hear(*(entry.name for entry in config.roster))
    for commit, following in pairwise([*commits[1:], None]):
        hub.with_config(strategy=sized(following))
        for client, round_ in sorted(orders(commit).items(), reverse=True):
            order = Order(round_, 1, hub.state.history[round_ - 1].model)
            assert hub.offer(sites.manifest(client, order)) == "Accepted"
    return made(hub.commits())


def made(commits: list[CommitRecord]) -> list[tuple[str, str | None]]:
    return [(c.model.sha256, c.hub_state.sha256 if c.hub_state else None) for c in commits]
