"""`ctx.state`: tensors that stay at the site from one of its updates to the next. Made by session.py for every order.

Rank 0 reads and writes the files (state_files.py); the other ranks get its values. A state that cannot be had is an
error for the task that asks for it, and never an empty state: controls that begin anew would give a wrong model.
"""

import hashlib
import json
from collections.abc import Iterator, MutableMapping
from pathlib import Path

import torch
from safetensors import SafetensorError

from fedtrainer.errors import SiteStateError, TaskInvalidError
from fedtrainer.ring import operations
from fedtrainer.ring.port import Ring
from fedtrainer.training import tensors
from fedtrainer.training.state_files import RESET_FILE, OrderState, StateFile, Update

_BLOCK_BYTES = 1 << 20


class SiteState(MutableMapping[str, torch.Tensor]):
    """Tensors by name, on the CPU. What is set is a copy."""

    def __init__(self, values: dict[str, torch.Tensor], lost: str = "", kept: bool = False) -> None:
        self._values, self._lost, self._wanted = dict(values), lost, kept

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._all()[name]

    def __setitem__(self, name: str, value: torch.Tensor) -> None:
        if not isinstance(name, str) or not name or name == "__metadata__" or not name.isprintable():
            raise TaskInvalidError(f"ctx.state: {name!r} is no name: use visible characters")
        if not isinstance(value, torch.Tensor) or value.dtype not in tensors.DTYPES or value.layout != torch.strided:
            form = f"{value.dtype}, {value.layout}" if isinstance(value, torch.Tensor) else type(value).__name__
            raise TaskInvalidError(
                f"ctx.state[{name!r}] is {form}: give a dense tensor of {', '.join(map(str, tensors.DTYPES))}"
            )
        self._all()[name] = value.detach().to("cpu", copy=True)

    def __delitem__(self, name: str) -> None:
        del self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def copy(self) -> "SiteState":
        """One that is changed without changing this one."""
        return SiteState({name: value.clone() for name, value in self._values.items()}, self._lost, self._wanted)

    @property
    def wanted(self) -> bool:
        """Whether there is a state, or the task has asked for it: then it is staged, changed or not."""
        return self._wanted

    def _all(self) -> dict[str, torch.Tensor]:
        if self._lost:
            raise SiteStateError(self._lost)
        self._wanted = True
        return self._values


def opened(order: OrderState | None, ring: Ring) -> SiteState:
    """What an order starts from, at every rank; `order` is rank 0's."""
    values: dict[str, torch.Tensor] = {}
    lost, kept = "", False
    if order is not None:
        try:
            values, kept = _found(order), order.files.newest() is not None
        except SiteStateError as error:
            lost = str(error)
    if ring.size > 1:
        forms = {name: tensors.form(value) for name, value in values.items()}
        lost, forms = json.loads(operations.broadcast_text(ring, json.dumps([lost, forms])))
        if ring.rank:
            values = tensors.empty(forms)
        operations.broadcast_tensors(ring, values)
    return SiteState(values, lost, kept)


def stage(order: OrderState | None, state: SiteState, update_sha256: str) -> None:
    """Keeps what a training has left, durably, before anybody hears of its update, which has this digest."""
    if order is None or order.update is None or not state.wanted:
        return
    written = order.files.folder / "writing"
    digest = tensors.write(written, dict(state), sync=True).sha256
    order.files.stage(written, order.update, update_sha256, digest)


def _found(order: OrderState) -> dict[str, torch.Tensor]:
    if order.files.reset:
        return {}
    newest, current = order.files.newest(), order.files.current(order.committed)
    if current is None and (newest or order.committed):
        raise SiteStateError(_missing(order, newest))
    return {} if current is None else _read(current)


def _read(file: StateFile) -> dict[str, torch.Tensor]:
    try:
        if (digest := _digest(file.path)) != file.sha256:
            raise SiteStateError(
                f"the site's state {file.path} is damaged: its bytes have SHA-256 {digest}; {_way_out(file.path.parent)}"
            )
        return {name: tensor.clone() for name, tensor in tensors.read(file.path).items()}
    except (OSError, SafetensorError) as error:
        raise SiteStateError(
            f"the site's state {file.path} is not readable ({error}); {_way_out(file.path.parent)}"
        ) from error


def _missing(order: OrderState, newest: StateFile | None) -> str:
    ours = "there is none" if newest is None else f"there is that of {_named(newest.update, newest.update_sha256)}"
    theirs = f"of {_named(order.committed.update, order.committed.sha256)}" if order.committed else "of no round"
    return (
        f"the task asks for ctx.state, which has to be that {theirs}, the last in which the aggregator committed an "
        f"update of this site, but in {order.files.folder} {ours}: use ctx.state in every training from the first "
        f"one on, and give the site a volume that stays (spec.state); {_way_out(order.files.folder)}"
        f"{f'; {order.why_lost}' if order.why_lost else ''}"
    )


def _named(update: Update, sha256: str | None) -> str:
    """An update in words: two of one round and attempt differ by their digests."""
    return f"round {update[0]} attempt {update[1]}{f' ({sha256[:12]})' if sha256 else ''}"


def _way_out(folder: Path) -> str:
    return f"put back the volume that held it, or go on with an empty state by making the file {folder / RESET_FILE}"


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
