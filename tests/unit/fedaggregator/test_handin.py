"""What the init step trusts: our CA for the hub and for nobody else, by the trainer's rule."""

import io
import ssl

import pytest

from fedaggregator import handin
from fedaggregator.errors import FatalError
from fedapi.outcome import Exit
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import UploadGrant

OBJECT = ObjectRef(key="models/x", sha256="a" * 64, size=1)


class Connection:
    """Notes where it leads and what it trusts; nobody answers."""

    made: list[tuple[str, int, ssl.SSLContext]] = []

    def __init__(self, host, port, *, context, **_) -> None:
        self.made.append((host, port, context))

    def request(self, *_) -> None:
        raise OSError("nobody is there")

    def close(self) -> None:
        pass


def put(url: str, trust: ssl.SSLContext):
    """What a grant's URL connects to."""
    hub, grant = handin._Hub("https://hub", trust, "token"), UploadGrant(url=url, expires_at=1.0, object=OBJECT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handin, "HTTPSConnection", Connection)
        patch.setattr(Connection, "made", [])
        with pytest.raises(handin._AgainError):
            hub.put(grant, io.BytesIO(b"x"), 1)
        return list(Connection.made)


@pytest.mark.parametrize(
    ("url", "server", "ours"),
    [
        ("https://hub/v1/blobs/x", ("hub", 443), True),
        ("https://HUB:443/v1/blobs/x", ("hub", 443), True),
        ("https://hub:8443/v1/blobs/x", ("hub", 8443), False),
        ("https://hub@store/x", ("store", 443), False),
        ("https://store/https://hub", ("store", 443), False),
    ],
)
def test_the_hub_is_known_however_it_is_written(url, server, ours):
    trust = ssl.create_default_context()
    ((host, port, context),) = put(url, trust)
    assert ((host, port), context is trust) == (server, ours)


@pytest.mark.parametrize("url", ["http://hub/x", "https://", "https://hub:no/"])
def test_nothing_is_sent_to_what_is_no_https_server(url):
    assert put(url, ssl.create_default_context()) == []


def test_a_hub_that_is_no_server_is_told(tmp_path):
    settings = handin.Settings(job_uid="u", aggregator_url="https://hub:no", credentials_dir=tmp_path)
    with pytest.raises(FatalError, match="aggregator_url") as told:
        handin._hub(settings)
    assert told.value.code == Exit.BAD_SETTINGS


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"code": "Malformed", "message": "the model has 4 layers"}', "the model has 4 layers"),
        (b"<html>too large</html>", "HTTP 422 <html>too large</html>"),
    ],
)
def test_a_refused_model_is_told_in_the_hubs_own_words(content, said):
    with pytest.raises(FatalError) as told:
        handin._check("POST", 422, content)
    assert str(told.value) == f"the aggregator does not take the initial model: {said}"
