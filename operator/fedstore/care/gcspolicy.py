"""The documents of a bucket of Google Cloud Storage: its resource, lifecycle and IAM bindings, as the JSON API has them. Pure.

Rules of a lifecycle have no names there: a rule of ours is one that does the same below the same prefix. Models become cold
by their custom time, which `fedloom storage age` sets on superseded ones, never by age alone.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from fedapi.wire.location import Gcs
from fedstore.care.comparing import holds
from fedstore.care.wanted import Wanted

Json = dict[str, Any]
COLD_CLASS = "COLDLINE"
AT_HAND = "9999-12-31T00:00:00Z"  # custom time of a model that is needed again: it can be put off, and not taken away
_READ_WRITE, _LIST = "roles/storage.objectUser", "roles/storage.legacyBucketReader"
_DAY_S, _SOFT_DAYS = 86_400, (7, 90)  # of soft delete, as Google takes them
_CONDITIONAL = 3  # version of a policy with conditions


def prefix_of(place: Gcs, below: str) -> str:
    """Of object names."""
    return f"{place.prefix}/{below}" if place.prefix else below


def rules(place: Gcs, wanted: Wanted) -> dict[str, Json]:
    """Of the lifecycle, by what each is for."""
    all_ = {"matchesPrefix": [prefix_of(place, "")]} if place.prefix else {}
    return {
        "updates expire": _rule(
            {"type": "Delete"},
            {"age": wanted.updates_days, "isLive": True, "matchesPrefix": [prefix_of(place, "updates/")]},
        ),
        "deleted versions go": _rule({"type": "Delete"}, {"daysSinceNoncurrentTime": wanted.noncurrent_days, **all_}),
        "superseded models become cold": _rule(
            {"type": "SetStorageClass", "storageClass": wanted.cold_class},
            {"daysSinceCustomTime": wanted.cold_after_days, "matchesPrefix": [prefix_of(place, "models/")]},
        ),
    }


def says(resource: Json, rule: Json) -> bool:
    """Whether the lifecycle has this rule, on no further condition."""
    return any(holds(each, rule) and _shape(each) == _shape(rule) for each in rules_of(resource))


def merged_rules(resource: Json, ours: Json) -> list[Json]:
    """The lifecycle with a rule of ours in the place of its former self."""
    return [*(rule for rule in rules_of(resource) if _shape(rule) != _shape(ours)), ours]


def rules_of(resource: Json) -> list[Json]:
    """Of its lifecycle."""
    found: list[Json] = (resource.get("lifecycle") or {}).get("rule") or []
    return found


def bindings(place: Gcs, wanted: Wanted) -> dict[str, Json]:
    """Of the bucket's IAM policy. Listing, and seeing the settings, is of the whole bucket: no condition on names covers them."""
    if not wanted.principals:
        return {}
    objects = f"projects/_/buckets/{place.bucket}/objects/{place.prefix}/"
    below = {"title": "fedloom", "expression": f'resource.name.startsWith("{objects}")'}
    members = list(wanted.principals)
    return {
        "aggregators and backups read and write": {
            "role": _READ_WRITE, "members": members, **({"condition": below} if place.prefix else {})
        },
        "aggregators and backups list, and see the settings": {"role": _LIST, "members": members},
    }  # fmt: skip


def granted(policy: Json, binding: Json) -> bool:
    """Whether an IAM policy has the binding, perhaps with other members, too."""
    return any(holds(each, binding) and _same(each, binding) for each in policy.get("bindings") or ())


def merged_policy(policy: Json, binding: Json) -> Json:
    """An IAM policy with one binding more, and the ETag that says what it was."""
    return {**policy, "version": _CONDITIONAL, "bindings": [*(policy.get("bindings") or ()), binding]}


def strangers(policy: Json, wanted: Wanted) -> list[str]:
    """Members with any role on the bucket who are neither principals nor administrators."""
    known = {*wanted.principals, *wanted.administrators}
    return sorted({member for each in policy.get("bindings") or () for member in each["members"]} - known)


def soft_delete_s(wanted: Wanted) -> int:
    """How long what is deleted stays: as long as versions do, as far as Google takes it."""
    least, most = _SOFT_DAYS
    return min(max(wanted.noncurrent_days or least, least), most) * _DAY_S


def holds_head(resource: Json) -> str:
    """What keeps HEAD from being replaced, or updates from being deleted; empty: nothing."""
    if period := int((resource.get("retentionPolicy") or {}).get("retentionPeriod") or 0):
        kept = timedelta(seconds=period)
        return f"a retention policy keeps every object for {kept}: HEAD could not be replaced; remove it, or take another bucket"
    if resource.get("defaultEventBasedHold"):
        return "new objects are held: HEAD could not be replaced; remove the default event-based hold"
    return ""


def _rule(action: Json, condition: Json) -> Json:
    return {"action": action, "condition": condition}


def _shape(rule: Json) -> tuple[object, ...]:
    condition = rule.get("condition") or {}
    prefixes: Iterable[str] = condition.get("matchesPrefix") or ()
    return (rule.get("action") or {}).get("type"), frozenset(condition), frozenset(prefixes)


def _same(one: Json, other: Json) -> bool:
    return bool((one.get("condition") or {}).get("expression") == (other.get("condition") or {}).get("expression"))
