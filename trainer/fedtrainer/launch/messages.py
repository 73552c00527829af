"""What launchers say to the generation service and hear from it, as JSON. Used by service.py and client.py.

Launchers of one site run one image, so the protocol has no versions: unknown fields are refused.
"""

from typing import Annotated, Literal

from pydantic import Field, IPvAnyAddress

from fedapi.wire.message import Message
from fedtrainer.launch import generations

PATH_JOIN, PATH_WATCH, PATH_REPORT = "/v1/join", "/v1/watch", "/v1/report"
TOKEN_INFO = b"fedloom ring launcher"  # binds the bearer token to this use of the site's token

Port = Annotated[int, Field(ge=0, le=65535)]
Why = Annotated[str, Field(max_length=2000)]


class Place(Message):
    """A launcher and where it is reached."""

    worker: int = Field(ge=0)
    incarnation: str = Field(min_length=1, max_length=64)
    address: IPvAnyAddress
    reach_port: Port
    store_port: Port = 0

    def value(self) -> generations.Worker:
        """As the decision code knows it."""
        return generations.Worker(self.worker, self.incarnation, str(self.address), self.reach_port, self.store_port)

    @classmethod
    def of(cls, who: generations.Worker) -> "Place":
        """The reverse."""
        return cls.model_validate(vars(who))


class JoinRequest(Message):
    """A launcher without ranks asks for a generation. Held until there is one, or for a few seconds."""

    place: Place
    slots: int = Field(ge=1)
    after: int = Field(0, ge=0)
    why: Why = ""


class WatchRequest(Message):
    """A launcher with ranks asks for news. Held until there are some, or for a few seconds."""

    worker: int = Field(ge=0)
    incarnation: str = Field(min_length=1, max_length=64)
    generation: int = Field(ge=1)
    regroup: bool = Field(False, description="Whether it knows already that the generation shall regroup.")


class Report(Message):
    """What has happened at a worker."""

    worker: int = Field(ge=0)
    incarnation: str = Field(min_length=1, max_length=64)
    generation: int = Field(ge=0)
    what: Literal["Broken", "Leaving", "Finished"]
    why: Why = ""


class News(Message):
    """The service's answer; the words are those of generations.Answer."""

    kind: Literal["Start", "Run", "Wait", "Done", "Replaced", "Failed"]
    generation: int = 0
    members: tuple[Place, ...] = ()
    regroup: bool = False
    why: str = ""

    @classmethod
    def of(cls, answer: generations.Answer) -> "News":
        """For the wire."""
        kind = type(answer).__name__
        match answer:
            case generations.Start(generation):
                members = tuple(map(Place.of, generation.members))
                return cls(kind="Start", generation=generation.number, members=members)
            case generations.Run(regroup):
                return cls(kind="Run", regroup=regroup)
            case generations.Wait(why) | generations.Failed(why):
                return cls.model_validate({"kind": kind, "why": why})
            case generations.Done() | generations.Replaced():
                return cls.model_validate({"kind": kind})

    def value(self) -> generations.Answer:
        """From the wire."""
        match self.kind:
            case "Start":
                members = tuple(place.value() for place in self.members)
                return generations.Start(generations.Generation(self.generation, members))
            case "Run":
                return generations.Run(self.regroup)
            case "Wait":
                return generations.Wait(self.why)
            case "Done":
                return generations.Done()
            case "Replaced":
                return generations.Replaced()
            case "Failed":
                return generations.Failed(self.why)
