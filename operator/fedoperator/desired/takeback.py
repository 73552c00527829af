"""What others changed in the objects that make up an aggregator, and how it is taken back. Pure; called by apply.py.

Whoever can add a variable, a container, a selector's label or a rule there decides what hub code does, so these
objects are wholly ours. Who set a field is read in `metadata.managedFields`: what the API server filled in, or a
mutating webhook on the way, is nobody's there and stays; sidecars are injected into pods, which are not looked at.
Status and scale have entries of their own and are left alone. See ADR 11.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedapi import names
from fedapi.jsonvalue import Json, JsonView
from fedoperator.desired.difference import child_at, our_fields

# The parts that are wholly ours; elsewhere (labels, annotations, a claim, Jobs) what others add stays.
WHOLLY_OURS: Mapping[str, tuple[str, ...]] = {
    "ConfigMap": ("data", "binaryData", "immutable"),
    "Deployment": ("spec",),
    "NetworkPolicy": ("spec",),
    "Role": ("rules",),
    "RoleBinding": ("subjects",),
    "Service": ("spec",),
    "ServiceAccount": ("imagePullSecrets", "automountServiceAccountToken"),
}
_WELCOME = frozenset({"f:kubectl.kubernetes.io/restartedAt"})  # kubectl rollout restart
_MAX_NAMED = 10  # fields in one message


@dataclass(frozen=True)
class TakeBack:
    """Fields that others set: to be removed by `patch` (a merge patch), or to be applied again when it is empty."""

    fields: tuple[str, ...]
    managers: tuple[str, ...]
    patch: JsonView

    def told(self, kind: str, name: str) -> str:
        """In words."""
        more = f" and {len(self.fields) - _MAX_NAMED} more" if len(self.fields) > _MAX_NAMED else ""
        named = ", ".join(self.fields[:_MAX_NAMED])
        return f"{kind} {name}: took back {named}{more}, set by {', '.join(self.managers)}"


def is_others(entry: JsonView) -> bool:
    """Whether an entry of managedFields lists leaves of the object that somebody else set."""
    return entry.get("manager") != names.OPERATOR_MANAGER and not entry.get("subresource")


def _others(live: JsonView) -> list[tuple[str, JsonView]]:
    """Manager and fields, of the parts that are wholly ours."""
    parts = {f"f:{part}" for part in WHOLLY_OURS.get(live.get("kind", ""), ())}
    entries = filter(is_others, live["metadata"].get("managedFields") or ())
    found = [
        (str(e.get("manager")), {k: v for k, v in (e.get("fieldsV1") or {}).items() if k in parts}) for e in entries
    ]
    return [(manager, fields) for manager, fields in found if fields]


def _named(path: str, element: str) -> str:
    kind, _, rest = element.partition(":")
    if kind == "f":
        return f"{path}.{rest}" if path else rest
    return f"{path}[{rest}]"


def _without(value: Any, element: str) -> Any:
    """`value` without what the path element names."""
    if isinstance(value, Mapping):
        return {key: item for key, item in value.items() if f"f:{key}" != element}
    _, gone = child_at(value, element)
    return [item for item in value if item != gone]


def _with(value: Any, element: str, new: Any) -> Any:
    """`value` with another item where the path element names one."""
    if isinstance(value, Mapping):
        return {key: new if f"f:{key}" == element else item for key, item in value.items()}
    _, old = child_at(value, element)
    return [new if item is old else item for item in value]


def _pruned(live: Any, fields: JsonView, desired: Any, path: str, found: list[str]) -> Any:
    """`live` without those of `fields` that are not desired; their names are added to `found`."""
    for element, below in fields.items():
        there, value = child_at(live, element)
        if element == "." or element in _WELCOME or not there:
            continue
        wanted, target = child_at(desired, element)
        name = _named(path, element)
        if not wanted and element == "f:annotations":
            wanted, target = True, {}
        if not wanted:
            found.append(name)
            live = _without(live, element)
        elif below and isinstance(value, (Mapping, list)):
            live = _with(live, element, _pruned(value, below, target, name, found))
    return live


def _lost(fields: JsonView, ours: JsonView, desired: Any, path: str) -> Iterator[str]:
    """Desired leaves that somebody else set and that are ours no longer: lists and maps that the API does not merge."""
    for element, below in fields.items():
        wanted, target = child_at(desired, element)
        if element == "." or not wanted:
            continue
        if not below and element not in ours:
            yield _named(path, element)
        elif below:
            yield from _lost(below, ours.get(element) or {}, target, _named(path, element))


def merge_patch(old: Any, new: Any) -> Json:
    """The merge patch (RFC 7386) that makes `new` of `old`, both maps."""
    patch: Json = {key: None for key in old if key not in new}
    for key, value in new.items():
        if key not in old or old[key] != value:
            both = isinstance(value, Mapping) and isinstance(old.get(key), Mapping)
            patch[key] = merge_patch(old[key], value) if both else value
    return patch


def taken_back(desired: JsonView, live: JsonView) -> TakeBack | None:
    """What others set in a live object that is wholly ours; None: nothing, or nobody can tell."""
    ours, others = our_fields(live), _others(live)
    if not ours or not others:
        return None
    added: list[str] = []
    lost: list[str] = []
    managers, pruned = [], live
    for manager, fields in others:
        before = len(added) + len(lost)
        pruned = _pruned(pruned, fields, desired, "", added)
        lost += _lost(fields, ours, desired, "")
        if len(added) + len(lost) > before:
            managers.append(manager)
    if not managers:
        return None
    return TakeBack(_unique([*added, *lost]), _unique(managers), merge_patch(live, pruned))


def _unique(items: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
