"""Where a store is, as one line of text: what the operator writes into the environment, and fedstore.opening reads.

    /var/lib/fedloom/store, file:FOLDER     a folder of a volume
    memory:NAME                             of this process alone
    s3://BUCKET/PREFIX?region=…             region, endpoint, kms-key, fence=lease
    gs://BUCKET/PREFIX?kms-key=…            endpoint, kms-key
    az://ACCOUNT/CONTAINER/PREFIX?…         endpoint, encryption-scope

Never a credential: those are files of a folder beside it. Pure.
"""

import re
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

_PREFIX = re.compile(r"^(?!\.)[A-Za-z0-9._-]+(/(?!\.)[A-Za-z0-9._-]+)*$")
FORMS = (
    "give a folder, file:FOLDER, memory:NAME, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://ACCOUNT/CONTAINER/PREFIX"
)


class UnknownLocationError(ValueError):
    """The text names no store."""


@dataclass(frozen=True)
class Folder:
    """On a volume."""

    path: str

    def text(self) -> str:
        """As it is said."""
        return self.path


@dataclass(frozen=True)
class Memory:
    """Lost with the process."""

    name: str

    def text(self) -> str:
        """As it is said."""
        return f"memory:{self.name}"


@dataclass(frozen=True)
class S3:
    """A bucket of Amazon S3, or of what speaks its protocol at `endpoint`."""

    bucket: str
    prefix: str = ""
    region: str = ""
    endpoint: str = ""
    kms_key: str = ""  # id or ARN; empty: the bucket's default encryption
    fence: str = ""  # "lease": it has no conditional writes, and a Lease keeps other writers off

    def text(self) -> str:
        """As it is said."""
        return _text("s3", (self.bucket, self.prefix), self)


@dataclass(frozen=True)
class Gcs:
    """A bucket of Google Cloud Storage."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    kms_key: str = ""  # resource name of the key

    def text(self) -> str:
        """As it is said."""
        return _text("gs", (self.bucket, self.prefix), self)


@dataclass(frozen=True)
class Azure:
    """A container of Azure Blob Storage."""

    account: str
    container: str
    prefix: str = ""
    endpoint: str = ""
    encryption_scope: str = ""  # of the account, which names the customer's key

    def text(self) -> str:
        """As it is said."""
        return _text("az", (self.account, self.container, self.prefix), self)


Cloud = S3 | Gcs | Azure
Location = Folder | Memory | Cloud


def parsed(text: str) -> Location:
    """The place that a text names; UnknownLocationError when it names none."""
    scheme, colon, rest = text.partition(":")
    if not colon or "/" in scheme:
        scheme, rest = "file", text
    match scheme:
        case "file" if rest:
            return Folder(rest.removeprefix("//"))
        case "memory" if rest:
            return Memory(rest)
        case "s3" | "gs" | "az" if rest.startswith("//"):
            return _cloud(scheme, rest[2:], text)
        case _:
            raise UnknownLocationError(f"{text[:200]!r} names no store: {FORMS}")


def below(place: Cloud, prefix: str) -> Cloud:
    """The same place with a longer prefix."""
    return replace(place, prefix=f"{place.prefix}/{prefix}" if place.prefix else prefix)


def _cloud(scheme: str, rest: str, text: str) -> Cloud:
    path, _, query = rest.partition("?")
    first, _, rest = path.strip("/").partition("/")
    options = dict(parse_qsl(query, keep_blank_values=True))
    made: Cloud
    match scheme:
        case "s3":
            made = S3(first, rest)
        case "gs":
            made = Gcs(first, rest)
        case _:
            container, _, prefix = rest.partition("/")
            made = Azure(first, container, prefix)
    known = {_spelled(each.name): each.name for each in fields(made) if each.name not in _PATH_FIELDS}
    if unknown := sorted(options.keys() - known.keys()):
        raise UnknownLocationError(f"{text[:200]!r}: {unknown[0]!r} is not one of {', '.join(known)}")
    if not first or (isinstance(made, Azure) and not made.container):
        raise UnknownLocationError(f"{text[:200]!r} names no store: {FORMS}")
    if made.prefix and not _PREFIX.fullmatch(made.prefix):
        said = f"{text[:200]!r}: the prefix {made.prefix!r}"
        raise UnknownLocationError(f"{said} must be names of letters, digits, '.', '_', '-' between slashes")
    if options.get("fence", "lease") != "lease":
        raise UnknownLocationError(
            f"{text[:200]!r}: fence={options['fence']} is not known: leave it out, or say fence=lease"
        )
    changes: dict[str, Any] = {known[name]: value for name, value in options.items()}
    return replace(made, **changes)


_PATH_FIELDS = ("bucket", "account", "container", "prefix")


def _spelled(name: str) -> str:
    return name.replace("_", "-")


def _text(scheme: str, path: tuple[str, ...], place: Cloud) -> str:
    said = {_spelled(each.name): getattr(place, each.name) for each in fields(place)}
    options = {name: value for name, value in said.items() if value and name not in _PATH_FIELDS}
    query = f"?{urlencode(options, safe='/:', quote_via=quote)}" if options else ""
    return f"{scheme}://{'/'.join(part for part in path if part)}{query}"
