"""Whose is a live object that has the name of one of our children? Pure.

Asked by apply.py before every write, by the cache and by decide. Only what this job made is ever written to or
deleted; an object of somebody else keeps its name, and the job says so. See ADR 11.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from fedapi import names
from fedapi.jsonvalue import JsonView
from fedoperator.desired.kinds import BY_KIND

_OWNERS = (names.JOB_KIND, names.CLIENT_KIND)


class Standing(Enum):
    """What an object is to the job or site that wants its name."""

    OURS = "made by this job, or by this site"
    PREDECESSORS = "made by a deleted one of the same name: it goes, and then ours is made"
    FOREIGN = "somebody else's: never written to, never owned, never deleted"


@dataclass(frozen=True)
class Owner:
    """The FederatedJob or FLClient that controls an object."""

    kind: str
    name: str
    uid: str


def _controller(body: JsonView) -> JsonView:
    references = body["metadata"].get("ownerReferences") or ()
    return next((r for r in references if r.get("controller")), {})


def owner_of(body: JsonView) -> Owner | None:
    """The resource of ours that controls an object, if any."""
    found = _controller(body)
    ours = found.get("kind") in _OWNERS and str(found.get("apiVersion", "")).startswith(f"{names.GROUP}/")
    return Owner(found["kind"], found.get("name", ""), found.get("uid", "")) if ours else None


def _labels(body: JsonView) -> Mapping[str, str]:
    return body["metadata"].get("labels") or {}


def controlled_by(body: JsonView) -> str:
    """The uid of what controls an object; empty: nothing does."""
    return str(_controller(body).get("uid") or "")


def belongs_to_job(body: JsonView, uid: str) -> bool:
    """Whether an object is of the job with this uid: controlled by it, or by nobody and with its label."""
    controller = _controller(body)
    if controller:
        return bool(controller.get("uid") == uid)
    return _labels(body).get(names.LABEL_JOB_UID) == uid


def standing(wanted: JsonView, live: JsonView) -> Standing:
    """Whose `live` is, which has the kind and the name of the manifest `wanted`."""
    want, have = _labels(wanted), _labels(live)
    uid = want.get(names.LABEL_JOB_UID) or _controller(wanted).get("uid", "")
    if _controller(live):
        return _of_controlled(want, live, uid)
    if BY_KIND[wanted["kind"]].named_by_uid or (have.get(names.LABEL_JOB_UID) or "") == uid:
        return Standing.OURS
    if have.get(names.LABEL_MANAGED_BY) != names.MANAGED_BY:
        return Standing.FOREIGN
    if names.LABEL_JOB not in want:  # a site's, whose FLClient was made anew
        same = all(have.get(key) == want.get(key) for key in (names.LABEL_CLIENT, names.LABEL_ROLE))
        return Standing.OURS if same else Standing.FOREIGN
    old = have.get(names.LABEL_JOB) == want[names.LABEL_JOB] and have.get(names.LABEL_JOB_UID)
    return Standing.PREDECESSORS if old else Standing.FOREIGN


def _of_controlled(want: Mapping[str, str], live: JsonView, uid: str) -> Standing:
    owner, labels = owner_of(live), _labels(live)
    if owner is None:
        return Standing.FOREIGN
    if owner.uid == uid:
        return Standing.OURS
    label = names.LABEL_JOB if owner.kind == names.JOB_KIND else names.LABEL_CLIENT
    namesake = owner.name == want.get(label) == labels.get(label)
    made_by_us = labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY
    return Standing.PREDECESSORS if namesake and made_by_us else Standing.FOREIGN


def lost_labels(wanted: JsonView, live: JsonView) -> dict[str, str]:
    """The labels that the live object should have and does not."""
    have = _labels(live)
    return {key: value for key, value in _labels(wanted).items() if have.get(key) != value}
