"""A bucket's settings, one by one: whether each is as it should be, and making it so. For the adapters of all clouds.

What a store does not tell, or these credentials may not ask, is told for that setting, and the others go on.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from fedapi.crd.job_status import Topic
from fedstore.care.wanted import Finding, State


@dataclass(frozen=True)
class Told:
    """How a setting is."""

    state: State
    remark: str = ""


class RefusedError(Exception):
    """The store did not answer about one setting, or does not take it; `told` says how that one stands."""

    def __init__(self, told: Told) -> None:
        super().__init__(told.remark)
        self.told = told


@dataclass(frozen=True)
class Setting:
    """One requirement. `set_` None: nobody can bring it about from here."""

    what: str
    topic: Topic
    look: Callable[[], Told]
    set_: Callable[[], None] | None = None


def judged(lack: str) -> Told:
    """Missing, if anything is."""
    return Told("missing", lack) if lack else Told("kept")


def looked_at(settings: Iterable[Setting]) -> Iterator[Finding]:
    """How all of them are."""
    return map(_found, settings)


def initialised(settings: Iterable[Setting]) -> Iterator[Finding]:
    """Sets what is missing, and looks again."""
    for each in settings:
        before = _found(each)
        if before.state != "missing" or each.set_ is None:
            yield before
            continue
        try:
            each.set_()
        except RefusedError as error:
            yield Finding(each.what, each.topic, error.told.state, error.told.remark, settable=False)
            continue
        after = _found(each)
        said = "was set" if after.state == "kept" else f"the store took it, and {after.remark or 'does not tell it'}"
        yield replace(after, remark=said, settable=False)


def _found(setting: Setting) -> Finding:
    try:
        told = setting.look()
    except RefusedError as error:
        told = error.told
    return Finding(setting.what, setting.topic, told.state, told.remark, settable=setting.set_ is not None)
