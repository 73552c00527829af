"""`ctx.state`: tensors that stay at the site from one of its updates to the next. Made by session.py for every order.

Rank 0 reads and writes the files (state_files.py); the other ranks get its values. A state that cannot be had is an
error for who asks for it, and never an empty state: controls that begin anew would give a wrong model. What only
makes training slower for a while where it is lost (residuals, an optimizer's moments) begins anew, with a warning.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

import torch
from safetensors import SafetensorError

from fedtrainer.errors import SiteStateError, TaskInvalidError
from fedtrainer.ring import operations
from fedtrainer.ring.port import Ring
from fedtrainer.training import tensors
from fedtrainer.training.state_files import RESET_FILE, OrderState, StateFile, Update

OURS = "fedloom."  # begin of names of what methods keep (methods/), and of residuals: no task sees it
RESIDUAL = f"{OURS}residual."
TASK = (
    "task"  # in the metadata of a file: whether there is more than what may begin anew; where it is not said, there is
)
_BLOCK_BYTES = 1 << 20

log = logging.getLogger(__name__)


class SiteState(MutableMapping[str, torch.Tensor]):
    """Tensors by name, on the CPU. What is set is a copy. What a strategy's method keeps stands beside what the task does.

    `residuals`: what was not sent of updates (encoding.py), by tensor. They lie in the same file, are at rank 0 alone, no task sees
    them, and where they are lost there are none. `lost`: why there is nothing but what may begin anew.
    """

    def __init__(
        self,
        values: dict[str, torch.Tensor],
        lost: str = "",
        kept: bool = False,
        residuals: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        self._values, self._lost, self._wanted = dict(values), lost, kept
        self.residuals: Mapping[str, torch.Tensor] = residuals or {}

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._all()[_of_task(name)]

    def __setitem__(self, name: str, value: torch.Tensor) -> None:
        if not isinstance(name, str) or not name or name == "__metadata__" or not name.isprintable():
            raise TaskInvalidError(f"ctx.state: {name!r} is no name: use visible characters")
        if name.startswith(OURS):
            raise TaskInvalidError(f"ctx.state: {name!r} begins with {OURS!r}, which is Fedloom's own: choose another")
        if not isinstance(value, torch.Tensor) or value.dtype not in tensors.DTYPES or value.layout != torch.strided:
            form = f"{value.dtype}, {value.layout}" if isinstance(value, torch.Tensor) else type(value).__name__
            raise TaskInvalidError(
                f"ctx.state[{name!r}] is {form}: give a dense tensor of {', '.join(map(str, tensors.DTYPES))}"
            )
        self._all()[name] = value.detach().to("cpu", copy=True)

    def __delitem__(self, name: str) -> None:
        del self._all()[_of_task(name)]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._all() if not name.startswith(OURS))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def part(self, of: str, *, renewable: bool = False) -> dict[str, torch.Tensor]:
        """What a method has kept under its name; empty before its first committed update. `renewable`: and where it is lost."""
        prefix = f"{OURS}{of}."
        found = {n.removeprefix(prefix): value for n, value in self._kept(renewable).items() if n.startswith(prefix)}
        if self._lost and not found:
            log.warning("what the site has kept as %r begins anew: %s", of, self._lost)
        return found

    def keep(self, of: str, values: Mapping[str, torch.Tensor], *, renewable: bool = False) -> None:
        """Puts these in place of what a method has kept under its name."""
        prefix, kept = f"{OURS}{of}.", self._kept(renewable)
        for name in [name for name in kept if name.startswith(prefix)]:
            del kept[name]
        kept |= {prefix + name: value.detach().to("cpu", copy=True) for name, value in values.items()}

    def has(self, of: str) -> bool:
        """Whether a method has kept something under its name; to ask that is not to ask for the state."""
        return any(name.startswith(f"{OURS}{of}.") for name in self._values)

    def forget(self, of: str) -> None:
        """Drops what a method has kept under its name, if anything; a state that is lost, or that nobody asks for, stays so."""
        for name in [name for name in self._values if name.startswith(f"{OURS}{of}.")]:
            del self._values[name]

    def copy(self) -> "SiteState":
        """One that is changed without changing this one."""
        values = {name: value.clone() for name, value in self._values.items()}
        return SiteState(values, self._lost, self._wanted, self.residuals)

    @property
    def wanted(self) -> bool:
        """Whether there is a state, or somebody has asked for it: then it is staged, changed or not."""
        return self._wanted or bool(self.residuals) or bool(self._values)

    def whole(self) -> dict[str, torch.Tensor]:
        """All that is to be staged, by the names that it has in the file."""
        left = {f"{RESIDUAL}{name}": value for name, value in self.residuals.items()}
        return self._values | left

    @property
    def metadata(self) -> str | None:
        """The file's: whether there is more in it than what may begin anew; none in one without that."""
        return json.dumps({TASK: self._wanted}) if self.residuals or self._lost else None

    def _kept(self, renewable: bool) -> dict[str, torch.Tensor]:
        """Where a method's tensors are; what may begin anew does so beside a state that is lost."""
        return self._values if renewable and self._lost else self._all()

    def _all(self) -> dict[str, torch.Tensor]:
        if self._lost:
            raise SiteStateError(self._lost)
        self._wanted = True
        return self._values


def opened(order: OrderState | None, ring: Ring) -> SiteState:
    """What an order starts from, at every rank; `order` is rank 0's."""
    values: dict[str, torch.Tensor] = {}
    residuals: dict[str, torch.Tensor] = {}
    lost, kept = "", False
    if order is not None:
        try:
            values, residuals, kept = _found(order)
        except SiteStateError as error:
            lost = str(error)
        if (residuals or values) and not kept:
            lost = _missing(order, None)
    if ring.size > 1:
        forms = {name: tensors.form(value) for name, value in values.items()}
        lost, forms = json.loads(operations.broadcast_text(ring, json.dumps([lost, forms])))
        if ring.rank:
            values = tensors.empty(forms)
        operations.broadcast_tensors(ring, values)
    return SiteState(values, lost, kept, residuals)


def stage(order: OrderState | None, state: SiteState, update_sha256: str) -> None:
    """Keeps what a training has left, durably, before anybody hears of its update, which has this digest."""
    if order is None or order.update is None or not state.wanted:
        return
    written = order.files.folder / "writing"
    digest = tensors.write(written, state.whole(), metadata=state.metadata, sync=True).sha256
    order.files.stage(written, order.update, update_sha256, digest)


def _found(order: OrderState) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], bool]:
    """The task's values, residuals, and whether the task has ever had any."""
    newest, current = order.files.newest(), order.files.current(order.committed)
    if order.files.reset or (order.taken_back and order.committed is None):
        return {}, {}, newest is not None
    if current is None and (newest or order.committed):
        raise SiteStateError(_missing(order, newest))
    return _read(current) if current is not None else ({}, {}, False)


def _read(file: StateFile) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], bool]:
    try:
        if (digest := _digest(file.path)) != file.sha256:
            raise SiteStateError(
                f"the site's state {file.path} is damaged: its bytes have SHA-256 {digest}; {_way_out(file.path.parent)}"
            )
        found = tensors.read(file.path)
        values = {name: tensor.clone() for name, tensor in found.items() if not name.startswith(RESIDUAL)}
        left = {name.removeprefix(RESIDUAL): found[name] for name in found.keys() - values.keys()}
        return values, left, bool(tensors.said(file.path).get(TASK, True))
    except (OSError, SafetensorError) as error:
        raise SiteStateError(
            f"the site's state {file.path} is not readable ({error}); {_way_out(file.path.parent)}"
        ) from error


def _missing(order: OrderState, newest: StateFile | None) -> str:
    ours = "there is none" if newest is None else f"there is that of {_named(newest.update, newest.update_sha256)}"
    theirs = f"of {_named(order.committed.update, order.committed.sha256)}" if order.committed else "of no round"
    return (
        "ctx.state, training.localParameters or the job's strategy asks for the site's state, which has to be that "
        f"{theirs}, the last in which the aggregator committed an update of this site, but in {order.files.folder} {ours}: use ctx.state in every training from the first "
        f"one on, and give the site a volume that stays (spec.state); {_way_out(order.files.folder)}"
        f"{f'; {order.why_lost}' if order.why_lost else ''}"
    )


def _named(update: Update, sha256: str | None) -> str:
    """An update in words: two of one round and attempt differ by their digests."""
    return f"round {update[0]} attempt {update[1]}{f' ({sha256[:12]})' if sha256 else ''}"


def _way_out(folder: Path) -> str:
    return f"put back the volume that held it, or go on with an empty state by making the file {folder / RESET_FILE}"


def _of_task(name: str) -> str:
    """The name, unless it is one of a method's."""
    if isinstance(name, str) and name.startswith(OURS):
        raise KeyError(name)
    return name


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
