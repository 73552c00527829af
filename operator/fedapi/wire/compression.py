"""How the floats of an update become bytes: a codec and its parameters. Frozen in a plan, told in an order, said in an update.

The arithmetic is in fedcore.compression, which trainer and hub share. Pure.
"""

from typing import Literal

from pydantic import Field, model_validator

from fedapi.wire.message import Message, ObjectRef

Codec = Literal["None", "Float16", "BFloat16", "Int8", "Int4", "TopK"]  # None: safetensors as they are
Lossy = Literal["Float16", "BFloat16", "Int8", "Int4", "TopK"]
MOST_FRACTION = 0.5  # of TopK: an entry takes 6 bytes, so that more of them would be larger than all


class Encoding(Message):
    """What a decoder has to know; in the metadata of an encoded file."""

    codec: Lossy
    fraction: float | None = Field(
        None, gt=0, le=MOST_FRACTION, description="With TopK alone: how much of each tensor is sent."
    )

    @model_validator(mode="after")
    def _fits(self) -> "Encoding":
        if (self.codec == "TopK") != (self.fraction is not None):
            raise ValueError("fraction goes with TopK, which needs it, and with no other codec")
        return self


class Broadcast(Message):
    """A committed model as sites get it: encoded. They train from what that decodes to, and their updates count from there.

    Where `of` is said the file is a delta: added to that model, which sites had before, it gives the one that they train from,
    which is the plan's `reference`.
    """

    encoding: Encoding
    object: ObjectRef
    of: ObjectRef | None = Field(None, exclude_if=lambda value: value is None)


class Compression(Encoding):
    """What an encoder has to know."""

    error_feedback: bool = Field(
        False, description="What was not sent stays at the site, and is added to its next update (Seide et al. 2014)."
    )

    @property
    def encoding(self) -> Encoding:
        """What a file of it says."""
        return Encoding(codec=self.codec, fraction=self.fraction)


def codec(compression: Compression | None) -> Codec:
    """The codec's name; None where nothing is encoded."""
    return compression.codec if compression else "None"
