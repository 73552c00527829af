"""Where a job's objects are in a store (design: "Store layout and commit rule"). Pure: names, no I/O.

The class of objects (control, models, hubstate, updates, checkpoints, ledger) comes first. What a key says is read by storekey.py beside this module,
what records say is in store.py.
"""

from dataclasses import dataclass

SITE_EVALUATION = "site-evaluation.json"
UPDATE_SUFFIX = ".safetensors"
BROADCAST_SUFFIX = ".broadcast.safetensors"
SUM_SUFFIX = ".sum.safetensors"
ENCRYPTED_SUFFIX = ".enc"  # after the other


@dataclass(frozen=True)
class Layout:
    """Keys of one job's objects, relative to the store's root."""

    namespace: str
    name: str
    uid: str

    @property
    def _job(self) -> str:
        return f"{self.namespace}/{self.name}-{self.uid}"

    @property
    def head(self) -> str:
        """Key of HEAD."""
        return f"control/{self._job}/HEAD.json"

    @property
    def history(self) -> str:
        """Key of the history as JSON lines: derived, and replaced as HEAD is."""
        return f"control/{self._job}/history.jsonl"

    @property
    def derived(self) -> tuple[str, ...]:
        """Keys of what is made anew of the records whenever it is lost."""
        return self.history, self.card, self.card_page

    @property
    def card(self) -> str:
        """Key of the finished job's model card as JSON: derived, and replaced as HEAD is."""
        return f"control/{self._job}/model-card.json"

    @property
    def card_page(self) -> str:
        """Key of the same for people, as Markdown."""
        return f"control/{self._job}/model-card.md"

    @property
    def restored(self) -> str:
        """Key of the record that a restore leaves."""
        return f"control/{self._job}/restored.json"

    @property
    def ledger_origin(self) -> str:
        """What the ledger's checkpoints are of: the same wherever the store is."""
        return f"fedloom.dev/ledger/{self._job}"

    def ledger(self, path: str) -> str:
        """Key of a file of the ledger: its checkpoint, a tile, a bundle."""
        return f"ledger/{self._job}/{path}"

    def inside(self, key: str) -> str | None:
        """A key without the job: `models/000007-….safetensors`; None when it is another job's."""
        kind, found, rest = key.partition(f"/{self._job}/")
        return f"{kind}/{rest}" if found and "/" not in kind else None

    def at(self, inside: str) -> str:
        """The inverse: where that is in this job's store."""
        kind, _, rest = inside.partition("/")
        return f"{kind}/{self._job}/{rest}"

    def attempt(self, round_: int, epoch: int, attempt: int) -> str:
        """Prefix of the records of one attempt by one aggregator."""
        return f"control/{self._job}/rounds/{round_:06d}/e{epoch}-a{attempt}"

    def record(self, round_: int, epoch: int, attempt: int, name: str) -> str:
        """Key of a record of that attempt."""
        return f"{self.attempt(round_, epoch, attempt)}/{name}"

    def rounds(self) -> str:
        """Prefix of all rounds."""
        return f"control/{self._job}/rounds"

    def round(self, round_: int) -> str:
        """Prefix of one round: every attempt by every epoch."""
        return f"{self.rounds()}/{round_:06d}"

    def models(self) -> str:
        """Prefix of all models."""
        return f"models/{self._job}"

    def model(self, round_: int, sha256: str) -> str:
        """Key of a model."""
        return f"{self.models()}/{round_:06d}-{sha256}{UPDATE_SUFFIX}"

    def broadcast(self, round_: int, sha256: str) -> str:
        """Key of a model as sites get it from that round on: beside the models, since lifecycle and policies mean it, too."""
        return f"{self.models()}/{round_:06d}-{sha256}{BROADCAST_SUFFIX}"

    def sum_of_updates(self, round_: int, sha256: str) -> str:
        """Key of what sites sent under masks or encrypted for a round, summed: beside the models for the same reason."""
        return f"{self.models()}/{round_:06d}-{sha256}{SUM_SUFFIX}"

    def hub_states(self) -> str:
        """Prefix of what strategies remember at the hub."""
        return f"hubstate/{self._job}"

    def hub_state(self, round_: int, sha256: str) -> str:
        """Key of what a strategy remembers after a round."""
        return f"{self.hub_states()}/{round_:06d}-{sha256}{UPDATE_SUFFIX}"

    def all_updates(self) -> str:
        """Prefix of all clients' updates."""
        return f"updates/{self._job}"

    def updates(self, client: str) -> str:
        """Prefix of one client's updates: a department can be isolated by it."""
        return f"{self.all_updates()}/{client}"

    def update(self, client: str, round_: int, sha256: str, *, encrypted: bool = False) -> str:
        """Key of an update."""
        suffix = UPDATE_SUFFIX + (ENCRYPTED_SUFFIX if encrypted else "")
        return f"{self.updates(client)}/client_{client}_round_{round_}-{sha256}{suffix}"

    def manifest(self, client: str, round_: int, attempt: int) -> str:
        """Key of one client's accepted manifest: write-once, so an update counts once per round and attempt."""
        return f"{self.updates(client)}/client_{client}_round_{round_}-a{attempt}.manifest.json"

    def site_evaluation(self, client: str, round_: int, model_sha256: str) -> str:
        """Key of what one site measured of a model outside of training. One of another model, after a repair, is another."""
        return f"{self.round(round_)}/sites/{client}/{model_sha256}/{SITE_EVALUATION}"

    def evaluation_report(self, client: str, round_: int) -> str:
        """Key of one client's evaluation of a model."""
        return f"{self.updates(client)}/client_{client}_round_{round_}.evaluation.json"

    def entrusted(self, client: str) -> str:
        """Prefix of the states that one client has entrusted."""
        return f"checkpoints/{self._job}/{client}"

    def entrusted_state(self, client: str, round_: int, attempt: int, update_sha256: str, sha256: str) -> str:
        """Key of a state, encrypted by its site: that which the update of this digest has left."""
        name = f"client_{client}_round_{round_}-a{attempt}-{update_sha256}-{sha256}"
        return f"{self.entrusted(client)}/{name}{UPDATE_SUFFIX}{ENCRYPTED_SUFFIX}"
