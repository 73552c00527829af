"""The sites of a job in its configuration: few bytes for each, because 10,000 of them share a ConfigMap (ADR 21)."""

from typing import Self

from fedapi.wire.message import Message

# In one job: with names of 63 letters, and none of them able to take part, the roster takes 930 kB of the 1 MiB that the
# API server lets a ConfigMap hold, and the Role that names every site's Lease 800 kB of etcd's 1.5 MiB. See ADR 21.
MAX_SITES = 10_000
MAX_STRATA = 100  # in one job: so many fit beside the roster, and few digits beside each name


class RosterEntry(Message):
    """A site that belongs to the job. Not eligible: it takes no part in new rounds.

    With reason Paused or NotReady it may end the round that it is in; any other says that its processes have ended.
    """

    name: str
    eligible: bool = True
    reason: str = ""
    stratum: int | None = None  # which of the configuration's strata it is in
    every_rounds: int = 1  # it takes part in at most every n-th round
    override: int | None = None  # which of the configuration's overrides it trains by
    held_out: bool = False  # it evaluates committed models and never trains: of jobs with `evaluation`

    def coded(self) -> str | None:
        """As the roster's map has it: None for nothing to say, else `reason|stratum|everyRounds|override|heldOut` as far as needed."""
        every = str(self.every_rounds) if self.every_rounds != 1 else ""
        stratum, override = ("" if number is None else str(number) for number in (self.stratum, self.override))
        facts = f"|{stratum}|{every}|{override}|{'1' if self.held_out else ''}".rstrip("|")
        return None if self.eligible and not facts else self.reason + facts

    @classmethod
    def decoded(cls, name: str, code: str | None) -> Self:
        """The inverse."""
        if code is None:
            return cls(name=name)
        reason, *numbers = code.split("|")
        stratum, every, override, held_out = (int(text) if text else None for text in (*numbers, "", "", "", "")[:4])
        eligible = not reason and "|" in code
        return cls(
            name=name,
            eligible=eligible,
            reason=reason,
            stratum=stratum,
            every_rounds=1 if every is None else every,
            override=override,
            held_out=held_out is not None,
        )
