"""A model card as a page for people: Markdown. Pure: the same card gives the same page.

Called where modelcard.py is. Names of sites, metrics and parameters are others' words: what Markdown or HTML would take
for its own is escaped.
"""

import html
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from fedapi import decimals
from fedapi.printable import in_a_cell
from fedstore.modelcard import Card, Measurement

MOST_SITES = 100  # on the page; the card as JSON has all
_MARKS = re.compile(r"([\\`*_{}\[\]()#+!|~])")


def page(card: Card) -> str:
    """The page."""
    parts = (
        _head(card),
        _model(card),
        _training(card),
        _sites(card),
        _metrics(card),
        _settings(card),
        _bound(card),
        _limits(),
    )
    return "\n\n".join(filter(None, ("\n".join(part) for part in parts))) + "\n"


def _head(card: Card) -> Iterable[str]:
    yield f"# Model card: {_text(card.job)}"
    yield ""
    yield f"FederatedJob `{card.namespace}/{card.job}` ({card.uid}), {_state(card)}."


def _state(card: Card) -> str:
    if not card.result:
        return f"not finished: this is its model of round {card.round}"
    return f"{card.result.lower()} at {card.finished} ({_text(card.reason)})"


def _model(card: Card) -> Iterable[str]:
    yield "## Model"
    rows = {
        "round": str(card.round),
        "SHA-256": f"`{card.model_sha256}`",
        "bytes": str(card.model_bytes),
        "committed": card.committed,
        "what does not travel, SHA-256": f"`{card.initial_sha256}`" if card.initial_sha256 else "",
        "head of the chain of commits, SHA-256": f"`{card.commit_sha256}`",
        "images": ", ".join(f"`{_text(image)}`" for image in card.images),
        "restored from the backup": _text(card.restored_from),
        "goes on from the jobs": ", ".join(card.lineage),
    }
    yield from _table(("", ""), ((name, value) for name, value in rows.items() if value))


def _training(card: Card) -> Iterable[str]:
    yield "## Rounds"
    yield f"{card.rounds} rounds with updates are in the model, from {card.began} to {card.committed}."
    if card.skipped:
        yield f"{card.skipped} rounds had no update."
    if card.taken_back:
        yield f"{card.taken_back} rounds were taken back by a rollback: nothing of them is in the model."


def _sites(card: Card) -> Iterable[str]:
    yield "## Sites"
    if not card.sites:
        yield "No site has an update in the model."
        return
    total = sum(each.samples for each in card.sites)
    yield f"{len(card.sites)} sites, {total} samples. Samples are what each site claimed with its last update."
    yield ""
    columns = ("site", "samples", "rounds", "first", "last", "without an update")
    shown = card.sites[:MOST_SITES]
    yield from _table(
        columns,
        (
            (
                _text(each.name),
                *map(
                    str, (each.samples, each.rounds, each.first_round, each.last_round, card.missed.get(each.name, 0))
                ),
            )
            for each in shown
        ),
    )
    if len(shown) < len(card.sites):
        yield ""
        yield f"{len(card.sites) - len(shown)} more are in the card as JSON."


def _metrics(card: Card) -> Iterable[str]:
    measured = (("sites that train", card.evaluation), ("held-out sites", card.held_out))
    yield "## Metrics"
    if not any(each for _, each in measured):
        yield "Nobody has evaluated the model."
        return
    yield "Means over the sites, weighted by their test samples."
    yield ""
    yield from _table(
        ("metric", "value", "model of round", "measured by", "samples"),
        (row for by, each in measured if each for row in _measured(by, each)),
    )


def _measured(by: str, said: Measurement) -> Iterable[tuple[str, ...]]:
    for name, value in said.metrics.items():
        yield _text(name), decimals.short(value), str(said.round), f"{said.sites} {by}", str(said.samples)


def _settings(card: Card) -> Iterable[str]:
    yield "## How it was trained"
    if not card.settings:
        yield "No plan of a round with updates is there."
        return
    yield "As the plan of the last round with updates has it."
    yield ""
    yield from _table(("setting", "value"), _flat("", card.settings))


def _flat(prefix: str, said: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name in sorted(said):
        value = said[name]
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{name}.", value)
        elif value not in (None, "", [], ()):
            yield _text(f"{prefix}{name}"), _text(_said(value))


def _said(value: object) -> str:
    match value:
        case str():
            return value
        case float():
            return decimals.exact(value)
        case _:
            return json.dumps(value)


def _bound(card: Card) -> Iterable[str]:
    """Nothing, where the commits bind nothing beside."""
    if card.bound:
        yield "## Privacy and ledger"
        yield "As the newest commit that says it has it; record_privacy: the largest that a site has said with an update."
        yield ""
        yield from _table(("of the commit", "value"), _flat("", card.bound))


def _limits() -> Iterable[str]:
    yield "## What this card does not say"
    yield "Samples and metrics are what sites said of data that nobody else can see. Backups are made of what this card is about,"
    yield "later: `fedloom backup list` tells them."


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterable[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _text(said: str) -> str:
    return _MARKS.sub(r"\\\1", html.escape(in_a_cell(said), quote=False))
