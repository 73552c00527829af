"""Which tensors of a model travel between site and hub, which every site has from the initial model, and which are its own.

What is frozen (`requires_grad` false in model(), or left out by training.exchange) is neither sent nor averaged; what
training.localParameters names stays at its site, as in FedPer (Arivazhagan et al. 2019) and FedBN (Li et al. 2021). The init
step writes the sets into the initial model's metadata, which tells the hub; a site compares its own with those before it works.
Called by initial.py and session.py.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType

import torch

from fedapi.wire.training import TrainingSettings
from fedcore.tensors import submodels
from fedcore.tensors.submodels import WIDTHS, Widths
from fedcore.tensors.tensorfile import KINDS
from fedtrainer.errors import TaskInvalidError
from fedtrainer.training import entrypoint, tensors
from fedtrainer.training.submodels import cut

_SHOWN = 5  # names in a message
_BUFFERS, _FROZEN, _LOCAL = KINDS


@dataclass(frozen=True)
class Exchange:
    """Names of the tensors that do not travel."""

    frozen: frozenset[str] = frozenset()
    local: frozenset[str] = frozenset()

    def travels(self, name: str) -> bool:
        """Whether a tensor is part of updates."""
        return name not in self.frozen and name not in self.local


ALL = Exchange()
OF_ALL = TrainingSettings()  # without patterns


def trained(model: torch.nn.Module, entries: Mapping[str, str]) -> frozenset[str]:
    """Entries of the state whose parameters have a gradient, as model() made them. `entries`: as state.parameters gives them."""
    named = dict(model.named_parameters())
    return frozenset(entry for entry, name in entries.items() if named[name].requires_grad)


def exchange(
    names: Iterable[str], entries: Mapping[str, str], trains: frozenset[str], settings: TrainingSettings
) -> Exchange:
    """The sets of a model with these entries. TaskInvalidError names a pattern, or a tensor, that does not do."""
    names = sorted(names)
    sent = _matched("training.exchange", settings.exchange, names)
    own = _matched("training.localParameters", settings.local_parameters, names)
    if both := sorted(sent.keys() & own.keys()):
        raise TaskInvalidError(
            f"tensor {both[0]!r} is named by training.exchange ({sent[both[0]]!r}) and by training.localParameters "
            f"({own[both[0]]!r}): it travels, or it stays at the site; change one of the patterns"
        )
    frozen = frozenset(
        name
        for name in names
        if (name in entries and name not in trains) or (settings.exchange and name not in sent and name not in own)
    )
    found = Exchange(frozen, frozenset(own) - frozen)
    _check(found, names, entries)
    return found


def metadata(found: Exchange, buffers: Iterable[str], widths: Widths = MappingProxyType({})) -> str | None:
    """What an initial model says of its tensors; nothing where all of them are parameters that travel, as they are."""
    said = {
        _BUFFERS: sorted(buffers),
        _FROZEN: sorted(found.frozen),
        _LOCAL: sorted(found.local),
        WIDTHS: submodels.said(widths),
    }
    return json.dumps({kind: names for kind, names in said.items() if names}) if any(said.values()) else None


def agreed(own: Exchange, initial: Path) -> None:
    """TaskInvalidError names the first tensor of which the job's initial model says something else than this site's task."""
    theirs = _said(initial)
    for name in sorted(own.frozen | own.local | theirs.frozen | theirs.local):
        if (ours := _kind(own, name)) != (said := _kind(theirs, name)):
            raise TaskInvalidError(
                f"tensor {name!r} {ours} at this site, and {said} by the job's initial model: model() must freeze the same "
                "parameters every time and at every site; a changed model needs a new job"
            )


def told(own: Exchange, settings: TrainingSettings) -> None:
    """TaskInvalidError where the job's initial model says nothing of the tensors that its patterns leave at the sites."""
    if own.local or (settings.exchange and own.frozen):
        field = "training.localParameters" if own.local else "training.exchange"
        raise TaskInvalidError(
            f"the job's initial model does not say which tensors {field} keeps from travelling: it was made by an earlier "
            "version; build the task image with this trainer, and make the job anew"
        )


def joined(
    initial: Path, model: Mapping[str, torch.Tensor], own: Exchange, ours: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The model of a round: the tensors that travel over those of the initial model, cut to the shapes of `ours`.

    TaskInvalidError where they are others.
    """
    whole = cut(tensors.read(initial), ours)
    found = cut(model, ours)
    if found.keys() != whole.keys():
        entrypoint.check_alike({name: value for name, value in ours.items() if own.travels(name)}, found)
    return {**whole, **found}


def check_kept(own: Exchange, local: Mapping[str, torch.Tensor], base: Mapping[str, torch.Tensor]) -> None:
    """TaskInvalidError names a tensor that training has changed, and that is sent to nobody and kept by nobody."""
    for name in sorted(own.frozen):
        if tensors.bytes_of(local[name]) != tensors.bytes_of(base[name]):
            raise TaskInvalidError(
                f"tensor {name!r} is frozen, and training has changed it, which would be lost: keep it as it is (a layer that "
                "gathers statistics in eval mode), let it travel (training.exchange, or requires_grad in model()), or keep "
                "it at the site (training.localParameters)"
            )


def _matched(field: str, patterns: Iterable[str], names: list[str]) -> dict[str, str]:
    """The names that patterns match, each with the first that does."""
    found: dict[str, str] = {}
    for pattern in patterns:
        matching = [name for name in names if fnmatchcase(name, pattern)]
        if not matching:
            raise TaskInvalidError(
                f"{field}: {pattern!r} matches no tensor of the model, whose tensors are {_listed(names)}: correct the "
                "pattern (`*` stands for any characters), or take it out"
            )
        for name in matching:
            found.setdefault(name, pattern)
    return found


def _check(found: Exchange, names: list[str], entries: Mapping[str, str]) -> None:
    if not any(map(found.travels, names)):
        raise TaskInvalidError(
            "no tensor of the model travels, so sites would have nothing to send: let parameters train in model(), or name "
            "fewer in training.localParameters"
        )
    first: dict[str, str] = {}
    for entry, parameter in sorted(entries.items()):
        other = first.setdefault(parameter, entry)
        if _kind(found, other) != _kind(found, entry):
            raise TaskInvalidError(
                f"tensors {other!r} and {entry!r} are one parameter, but the first {_kind(found, other)} and the second "
                f"{_kind(found, entry)}: name both in training.exchange or training.localParameters, or none"
            )


def _kind(found: Exchange, name: str) -> str:
    if name in found.frozen:
        return "is frozen"
    return "stays at the site" if name in found.local else "travels"


def _said(initial: Path) -> Exchange:
    said = tensors.said(initial)
    return Exchange(frozenset(said.get(_FROZEN, ())), frozenset(said.get(_LOCAL, ())))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more
