"""What a site does where the fragments of the model take turns (Streaming DiLoCo, Douillard et al. 2025, arXiv:2501.18512).

Its update is that of the round's fragment: against the hub's values, which the site began with when the hub last stepped it. Of
the others it goes on from its own values, which are part of its state (site_state.py), each beside the digest of the hub's that
it began with. Where the hub has others by now they take its place, without mixing (the paper's alpha is 0): that is how a
stepped fragment comes down, and also what a site finds that has missed turns, or whose job went back. Called by session.py.
"""

import hashlib
import logging
from collections.abc import Collection, Mapping

import torch

from fedapi.wire.training import TrainingSettings
from fedcore.tensors.fragments import WHOLE, TooManyFragmentsError, Turn
from fedtrainer.errors import TaskInvalidError
from fedtrainer.training import tensors
from fedtrainer.training.site_state import SiteState

log = logging.getLogger(__name__)

OWN = "fragments"  # part of the site's state: its values of tensors …
BEGUN = "fragments-begun"  # … and the digests of the hub's that they began with


def sent(base: tensors.Tensors, entries: Mapping[str, str], settings: TrainingSettings, round_: int) -> frozenset[str]:
    """The names of tensors that this round's update has, of a base of those that travel. `entries`: which are whose parameters."""
    count = settings.method.fragments if settings.method is not None else None
    turn = WHOLE if count is None else Turn(round_, count)
    table = tensors.table(base)
    try:
        found = turn.of(table).by_name()
    except TooManyFragmentsError as error:
        raise TaskInvalidError(str(error)) from error
    if count is not None:
        _check_tied(found.keys(), entries)
        size = sum(tensor.end - tensor.begin for tensor in found.values())
        log.info("round %d: sends fragment %d of %d, %d bytes of %d", round_, turn.index + 1, count, size, table.size)
    return frozenset(found)


def begun(base: tensors.Tensors, state: SiteState) -> dict[str, torch.Tensor]:
    """The site's own values that it goes on from: of tensors of which the hub has what they began with."""
    own, digests = state.part(OWN), state.part(BEGUN)
    return {
        name: own[name] for name, digest in digests.items() if name in base and torch.equal(digest, _digest(base[name]))
    }


def keep(base: tensors.Tensors, trained: Mapping[str, torch.Tensor], state: SiteState) -> None:
    """Leaves what was trained of tensors that are not sent; `base`: the hub's values of these. Where all are sent, nothing."""
    if not base:
        state.forget(OWN)
        state.forget(BEGUN)
        return
    state.keep(OWN, {name: trained[name] for name in base})
    state.keep(BEGUN, {name: _digest(tensor) for name, tensor in base.items()})


def _check_tied(names: Collection[str], entries: Mapping[str, str]) -> None:
    """One parameter of two names is in one fragment, or the hub would step it twice, and otherwise."""
    theirs = {entries[name]: name for name in names if name in entries}
    for entry, parameter in sorted(entries.items()):
        if parameter in theirs and entry not in names:
            raise TaskInvalidError(
                f"tensors {theirs[parameter]!r} and {entry!r} are one parameter, and in different fragments of the model: set "
                "strategy.diLoCo.fragments to 1, or let model() have the parameter under one name, and use it in both places"
            )


def _digest(tensor: torch.Tensor) -> torch.Tensor:
    """SHA-256, as a tensor."""
    return torch.frombuffer(bytearray(hashlib.sha256(tensors.bytes_of(tensor)).digest()), dtype=torch.uint8)
