"""A site's question for work, asked by the runner while the site has no process: `next` over a connection of its own.

Used by sharing.py. What a trainer does in fedtrainer.agent.control, on asyncio streams, because a thousand sites wait
here at once. What an answer means, and how long to go on trying, is the trainer's own code.
"""

import asyncio
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from fedapi import names
from fedapi.wire.site import Assignment
from fedtrainer.agent import answers
from fedtrainer.agent.control import ANSWER_S, not_understood, question
from fedtrainer.agent.link import LONGEST_ANSWER_BYTES
from fedtrainer.agent.patience import RetryError, pause_s
from fedtrainer.agent.signing import said_features
from fedtrainer.errors import AggregatorLostError, LinkExpiredError, RejectedError

CONNECT_S = 30.0  # longer than a site's own: a thousand of them connect at the same time


@dataclass
class Questions:
    """Of one site."""

    url: str  # of the aggregator
    site: str
    credentials: Path
    context: ssl.SSLContext
    handshakes: asyncio.Semaphore  # bounds how many connections are being made at once
    patience_s: float = 0.0
    signing_key_dir: Path | None = None  # of the key by which the site signs
    _link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def next(self, wait_s: float) -> tuple[Assignment, str]:
        """What to do, parsed and as it came. AggregatorLostError when nobody has answered for as long as the site is patient."""
        failures, first = 0, 0.0
        while True:
            try:
                return await self._once(wait_s)
            except (RejectedError, LinkExpiredError) as error:
                raise not_understood(self.url, error) from error
            except RetryError as error:
                first = first or time.monotonic()
                if time.monotonic() - first > self.patience_s:
                    text = f"asking for work: no answer for {self.patience_s:.0f} s: {error}"
                    raise AggregatorLostError(text) from error
                await asyncio.sleep(pause_s(failures))
                failures += 1

    def close(self) -> None:
        """Hangs up."""
        if self._link:
            self._link[1].close()
        self._link = None

    async def _once(self, wait_s: float) -> tuple[Assignment, str]:
        request = self._request(
            question(wait_s, features=said_features(self.signing_key_dir)).model_dump_json().encode()
        )
        kept = self._link is not None
        try:
            async with asyncio.timeout(ANSWER_S + wait_s):
                try:
                    status, body = await self._exchanged(request)
                except (OSError, EOFError):
                    if not kept:  # else it was closed for being idle: on a new one it is asked again
                        raise
                    self.close()
                    status, body = await self._exchanged(request)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError | EOFError | ValueError | LookupError | asyncio.LimitOverrunError):
                raise RetryError(f"{type(error).__name__}: {error}") from error
            raise
        if refused := answers.error(status, body):
            raise refused
        try:
            return Assignment.told(body), body.decode()
        except ValidationError as error:
            raise RetryError(f"the answer to next is no Assignment: {error.error_count()} errors") from error

    async def _exchanged(self, request: bytes) -> tuple[int, bytes]:
        reader, writer = await self._connected()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = dict(line.lower().partition(": ")[::2] for line in head[1:] if line)
        length = int(fields["content-length"])
        if length > LONGEST_ANSWER_BYTES:
            raise ValueError(f"an answer of {length} bytes")
        body = await reader.readexactly(length)
        if fields.get("connection") == "close":
            self.close()
        return int(head[0].split()[1]), body

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._link is None:
            parts = urlsplit(self.url)
            async with self.handshakes, asyncio.timeout(CONNECT_S):
                self._link = await asyncio.open_connection(parts.hostname, parts.port, ssl=self.context)
        return self._link

    def _request(self, body: bytes) -> bytes:
        token = (self.credentials / names.FILE_TOKEN).read_text().strip()
        host = urlsplit(self.url).netloc
        fields = (
            f"POST /v1/sites/{self.site}/next HTTP/1.1",
            f"Host: {host}",
            f"Authorization: Bearer {token}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        )
        return "\r\n".join(fields).encode() + b"\r\n\r\n" + body


def order_of(answer: Assignment) -> tuple[Any, ...]:
    """Tells an order from the next one."""
    if answer.train is not None:
        return ("Train", answer.train.round, answer.train.attempt)
    return ("Evaluate", answer.evaluate.round) if answer.evaluate is not None else (answer.kind,)
