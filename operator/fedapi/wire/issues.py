"""issues.json: what URLs were made for whom. Pure. Written by the aggregator, read by `fedloom storage issued`."""

from typing import Literal

from pydantic import Field

from fedapi.wire.message import Message, ObjectRef, Record

Method = Literal["GET", "PUT"]


class Issue(Message):
    """An object that URLs were made for, and whom for."""

    method: Method
    object: ObjectRef
    holders: dict[str, float] = Field(description="`SITE/ROUND/ATTEMPT`: when the newest URL for it expires.")


class IssueRecord(Record):
    """issues.json beside a commit: what was issued since the one before it, or since the aggregator's start. Never a URL."""

    job_uid: str
    round: int
    attempt: int
    since: float
    until: float
    issues: tuple[Issue, ...]
    omitted: int = Field(0, description="How many more there were.")
