"""Requests that are wrong in every way that a seed can think of, sent beside honest sites. None of them may be taken.

Used by test_hostile_beside_honest.py and, in greater number, by tests/long.
"""

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from fedapi.wire.tokens import site_token
from tests.integration.fedaggregator.harness import JOB_KEY, JobFolder, https
from tests.integration.fedaggregator.raw import connected

ROUTES = ("next", "uploads", "updates", "evaluations", "failures", "entrust", "recall")
WORDS = (
    None,
    True,
    -1,
    0,
    1e308,
    1 << 80,
    "",
    "x" * 200,
    "\x00\x1b[2J",
    "../../etc/passwd",
    [],
    {},
    [[[]]],
    {"a": {"b": 1}},
)


@dataclass
class Hostile:
    """One client with a seed of its own; `sites` are those of the job, whose tokens it has stolen."""

    job: JobFolder
    sites: tuple[str, ...]
    seed: int
    model_url: str
    answers: Counter = field(default_factory=Counter)

    def send(self, count: int) -> None:
        """So many requests; 500 or a success fails the test."""
        chance, http = random.Random(self.seed), https(self.job)
        for _ in range(count):
            kind = chance.choice((self._message, self._message, self._message, self._url, self._stranger, self._noise))
            status = kind(chance, http)
            assert status == 0 or 400 <= status < 500 or status == 503, (kind, status)
            self.answers[kind.__name__, status] += 1

    def _message(self, chance: random.Random, http: httpx.Client) -> int:
        """A site's token, and a message that is of another job, of no round, or none at all."""
        site, route = chance.choice(self.sites), chance.choice(ROUTES)
        message = {
            "job_uid": "another", "round": 99, "attempt": 7, "client": site, "sha256": "0" * 64, "size": 9,
            "base_sha256": "0" * 64, "model_sha256": "0" * 64, "samples": 1, "metrics": {}, "training_s": 0.0,
            "payload": {"key": "x", "sha256": "0" * 64, "size": 1}, "nonce": "n" * 16, "reason": "x",
        }  # fmt: skip
        for _ in range(chance.randint(1, 4)):
            message[chance.choice([*message, "more"])] = chance.choice(WORDS)
        body = bytearray(json.dumps(message).encode())
        if chance.random() < 0.3:
            for _ in range(chance.randint(1, 9)):
                body[chance.randrange(len(body))] = chance.randrange(256)
        headers = {"authorization": f"Bearer {site_token(JOB_KEY, site)}"}
        return _status(http, "POST", f"/v1/sites/{site}/{route}", content=bytes(body), headers=headers)

    def _url(self, chance: random.Random, http: httpx.Client) -> int:
        """A signed URL with a letter changed, or for another method."""
        parts = urlsplit(self.model_url)
        text, method = list(f"{parts.path}?{parts.query}"), chance.choice(("GET", "PUT", "PUT", "DELETE", "POST"))
        place = chance.randrange(len("/v1/blobs/"), len(text))
        text[place] = chance.choice("0123456789abcdef%&=/.") if method == "GET" else text[place]
        if "".join(text) == f"{parts.path}?{parts.query}" and method == "GET":
            return 0
        return _status(http, method, "".join(text), content=b"x" * chance.randrange(2000))

    def _stranger(self, chance: random.Random, http: httpx.Client) -> int:
        """No token, another site's, or a site that is not in the job."""
        site, token = (
            chance.choice((*self.sites, "stranger")),
            chance.choice(("", "0" * 64, site_token(JOB_KEY, "stranger"))),
        )
        headers = {"authorization": f"Bearer {token}"} if token else {}
        method = chance.choice(("POST", "POST", "GET", "PUT", "PATCH"))
        return _status(http, method, f"/v1/sites/{site}/{chance.choice(ROUTES)}", content=b"{}", headers=headers)

    def _noise(self, chance: random.Random, _: httpx.Client) -> int:
        """Bytes, or a request that is broken off or broken up."""
        whole = f"POST /v1/sites/{self.sites[0]}/next HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n{{".encode()
        data = bytearray(whole * chance.randint(1, 3))
        for _ in range(chance.randint(1, 20)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            with connected(self.job) as raw:
                raw.send(bytes(data[: chance.randint(1, len(data))]))
                if chance.random() < 0.5:
                    raw.socket.settimeout(0.2)
                    raw.socket.recv(100)
        except OSError:
            pass
        return 0


def _status(http: httpx.Client, method: str, path: str, **values: object) -> int:
    try:
        return http.request(method, path, **values).status_code
    except (httpx.TransportError, httpx.InvalidURL):
        return 0
