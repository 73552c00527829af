"""A file that a site fetches: a model, a state of its own, a sum to decrypt."""

from pydantic import Field

from fedapi.wire.message import Certificates, Inline, Message, Sha256


class Download(Message):
    """An expiring URL for a file, with what its content must be."""

    url: str
    sha256: Sha256
    size: int
    expires_at: float
    ca: Certificates = None
    content: Inline | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="The file itself, where it is small; told to sites with the feature `inline`.",
    )
