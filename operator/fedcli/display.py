"""Shows a run: a live table on a terminal, one line per transition elsewhere. Called by commands.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fedapi.jsonvalue import Json
from fedapi.printable import in_a_cell, printable
from fedcli.privacytext import spent
from fedcli.transitions import metric_text, transitions
from fedoperator.decide.decision import Event

ROUNDS_SHOWN = 8
NOTES_SHOWN = 6
SITES_SHOWN = 20  # with more, those that need a look come first
_AS_USUAL = ("Accepted", "Training", "Waiting", "Idle", "HeldOut")
_COLOURS = {"Accepted": "green", "Training": "cyan", "Failed": "red", "Late": "yellow"}


class Display(Protocol):
    """Port: is told of every pass."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def show(self, job: Json, events: Sequence[Event]) -> None:
        """The job as it is now, and what happened since the last time."""


def display(console: Console, workers: Mapping[str, int] | None = None) -> Display:
    """What fits the console. `workers`: site -> training pods that it is to have."""
    return Tables(console, workers or {}) if console.is_terminal else Lines(console)


@dataclass
class Lines:
    """One line per transition."""

    console: Console
    _before: Json = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, job: Json, events: Sequence[Event]) -> None:
        """Prints what changed."""
        status = job["status"]
        for line in _changes(self._before, status, events):
            clock = datetime.now(UTC).strftime("%H:%M:%S")
            text = printable(f"{clock} {job['metadata']['name']}: {line}")
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._before = status


@dataclass
class Tables:
    """Rounds, sites and metrics, redrawn in place."""

    console: Console
    workers: Mapping[str, int] = field(default_factory=dict)
    _before: Json = field(default_factory=dict)
    _rounds: dict[int, str] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)
    _live: Live | None = None

    def __enter__(self) -> Self:
        self._live = Live(Text("starting"), console=self.console, refresh_per_second=8)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, job: Json, events: Sequence[Event]) -> None:
        """Redraws."""
        status = job["status"]
        for line in _changes(self._before, status, events):
            if not line.startswith(("phase ", "round ", "metrics ")):
                self._notes.append(line)
        if status.get("metrics"):
            self._rounds[status["metrics"][0]["round"]] = metric_text(status)
        self._before = status
        if self._live:
            self._live.update(self.drawn(job))

    def drawn(self, job: Json) -> RenderableType:
        """The job as it was shown last."""
        status = job["status"]
        round_ = status.get("round") or {}
        title = Text.assemble(
            (job["metadata"]["name"], "bold"),
            f"  {status.get('phase') or 'starting'}  round ",
            round_.get("progress") or "-",
        )
        title.append(f"  sites {status.get('participants') or '-'}  {in_a_cell(status.get('headlineMetric') or '')}")
        budgets = [Text(f"privacy: {each}") for each in spent(status)]
        notes = [Text(printable(note), style="yellow") for note in self._notes[-NOTES_SHOWN:]]
        return Group(title, *budgets, _sites_table(status, self.workers), self._rounds_table(), *notes)

    def _rounds_table(self) -> Table:
        table = Table("ROUND", "METRICS", box=None, header_style="dim")
        for number in sorted(self._rounds)[-ROUNDS_SHOWN:]:
            table.add_row(str(number), Text(in_a_cell(self._rounds[number])))
        return table


def _changes(before: Json, after: Json, events: Sequence[Event]) -> list[str]:
    warnings = [f"{event.reason}: {event.message}" for event in events if event.type == "Warning"]
    return [*(transitions(before, after) if before is not after else []), *warnings]


def _sites_table(status: Json, workers: Mapping[str, int]) -> Table:
    """Where some site has several workers, how many of them are ready is shown; where sites account for records, their epsilon."""
    rings = any(count > 1 for count in workers.values())
    ready = {site["name"]: site.get("ready", 0) for site in status.get("sites") or ()}
    clients = sorted(status.get("clients") or (), key=lambda c: str(c["name"]))
    account = any(client.get("recordEpsilon") for client in clients)
    head = (
        "SITE", "STATE", *(["READY"] if rings else []), "LAST ROUND", "ROUNDS", "SAMPLES", "FAILURES",
        *(["RECORD-EPSILON"] if account else []),
    )  # fmt: skip
    table = Table(*head, box=None, header_style="dim")
    if len(clients) > SITES_SHOWN:
        clients.sort(key=lambda c: c["state"] in _AS_USUAL)
    for client in clients[:SITES_SHOWN]:
        name = client["name"]
        state = Text(client["state"], style=_COLOURS.get(client["state"], ""))
        pods = [f"{ready.get(name, 0)}/{workers.get(name, 1)}"] if rings else []
        numbers = (str(client.get(field_, 0)) for field_ in ("lastRound", "rounds", "samples", "failures"))
        epsilons = [client.get("recordEpsilon") or "-"] if account else []
        table.add_row(name, state, *pods, *numbers, *epsilons)
    if len(clients) > SITES_SHOWN:
        table.add_row(Text(f"… and {_count(status, len(clients)) - SITES_SHOWN} more", style="dim"))
    return table


def _count(status: Json, listed: int) -> int:
    """Sites of the job: `participants` says how many of how many take part, the status lists at most a hundred."""
    of_all = str(status.get("participants") or "").rpartition("/")[2]
    return max(listed, int(of_all) if of_all.isdigit() else 0)
