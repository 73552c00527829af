"""Amazon SQS by boto3, whose calls wait in threads: standard queues, long polls, visibility renewed while a message is held.

Credentials are files of a folder, named as the SDK's variables, read again when they change or are refused; without a
folder the SDK finds them as it does (workload identity, profiles).
"""

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from fedapi import names
from fedapi.wire.broker import DEAD, MOST_BYTES, Sqs
from fedqueue.errors import QueueDeniedError, QueueMissingError, QueueUnavailableError
from fedqueue.pacing import pause_s
from fedqueue.port import AT_ONCE, DELIVERIES, HIDDEN_S, KEPT_S, Delivery, check_size

LONGEST_POLL_S = 20  # of SQS
_THREADS = 16
_MISSING = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
_DENIED = frozenset({
    "AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "ExpiredToken", "ExpiredTokenException",
    "SignatureDoesNotMatch", "UnrecognizedClientException", "InvalidAccessKeyId", "MissingAuthenticationToken",
})  # fmt: skip


@dataclass(frozen=True)
class _Held:
    """What tells SQS which delivery of which queue."""

    url: str
    handle: str


class SqsQueues:
    """One process's way to an account's queues."""

    def __init__(self, place: Sqs, credentials: Path | None, hidden_s: int = HIDDEN_S) -> None:
        self._place, self._credentials, self._hidden_s = place, credentials, hidden_s
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sqs")
        self._client: Any = None
        self._said: Mapping[str, str] = {}  # what the client was made with
        self._urls: dict[str, str] = {}
        self._held: set[_Held] = set()
        self._renewing: asyncio.Task[None] | None = None
        self._failures = 0

    async def make(self, queue: str) -> None:
        """With its dead-letter queue. Where creation is not allowed, what is there is taken as it is."""
        try:
            await self._url(queue)
        except QueueMissingError:
            kept = {"MessageRetentionPeriod": str(KEPT_S), "MaximumMessageSize": str(MOST_BYTES)}
            dead = await self._created(queue + DEAD, kept | {"MessageRetentionPeriod": str(14 * 24 * 3600)})
            arn = await self._call("get_queue_attributes", QueueUrl=dead, AttributeNames=["QueueArn"])
            redrive = {"deadLetterTargetArn": arn["Attributes"]["QueueArn"], "maxReceiveCount": DELIVERIES}
            attributes = {"VisibilityTimeout": str(self._hidden_s), "RedrivePolicy": json.dumps(redrive)}
            self._urls[queue] = await self._created(queue, kept | attributes)

    async def remove(self, queue: str) -> None:
        """Both."""
        for name in (queue, queue + DEAD):
            with contextlib.suppress(QueueMissingError):
                await self._call("delete_queue", QueueUrl=await self._url(name))
            self._urls.pop(name, None)

    async def send(self, queue: str, body: str) -> None:
        """One message: what SQS has answered is durable."""
        check_size(body)
        await self._call("send_message", queue, QueueUrl=await self._url(queue), MessageBody=body)

    async def receive(self, queue: str, wait_s: float) -> Sequence[Delivery]:
        """A long poll. From then on the messages' visibility is renewed. What arrives after a cancellation is given back."""
        url, nobody = await self._url(queue), threading.Event()
        arguments = {
            "QueueUrl": url,
            "MaxNumberOfMessages": AT_ONCE,
            "WaitTimeSeconds": min(LONGEST_POLL_S, max(0, round(wait_s))),
            "VisibilityTimeout": self._hidden_s,
            "MessageSystemAttributeNames": ["ApproximateReceiveCount"],
        }
        try:
            answer = await self._tried(partial(self._polled, arguments, nobody), queue)
        except asyncio.CancelledError:
            nobody.set()
            raise
        found = [self._delivery(queue, url, message) for message in answer.get("Messages", ())]
        if self._held and self._renewing is None:
            self._renewing = asyncio.create_task(self._renew())
        return found

    async def settle(self, delivery: Delivery) -> None:
        """Deletes it."""
        if isinstance(held := delivery.receipt, _Held):
            self._held.discard(held)
            await self._call("delete_message", delivery.queue, QueueUrl=held.url, ReceiptHandle=held.handle)

    async def close(self) -> None:
        """Gives back what is held, as far as SQS answers."""
        if self._renewing is not None:
            self._renewing.cancel()
        held, self._held = self._held, set()
        with contextlib.suppress(QueueUnavailableError):
            await asyncio.gather(*(self._hidden(each, 0) for each in held))
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _renew(self) -> None:
        """Until nothing is held: one that could not be renewed is delivered again, which is harmless."""
        while self._held:
            await asyncio.sleep(self._hidden_s / 3)
            with contextlib.suppress(QueueUnavailableError):
                await asyncio.gather(*(self._hidden(each, self._hidden_s) for each in self._held))
        self._renewing = None

    async def _hidden(self, held: _Held, seconds: int) -> None:
        await self._call(
            "change_message_visibility", QueueUrl=held.url, ReceiptHandle=held.handle, VisibilityTimeout=seconds
        )

    def _delivery(self, queue: str, url: str, message: Mapping[str, Any]) -> Delivery:
        held = _Held(url, message["ReceiptHandle"])
        self._held.add(held)
        again = int(message.get("Attributes", {}).get("ApproximateReceiveCount", "1")) > 1
        return Delivery(queue, message["Body"], again, held)

    async def _created(self, queue: str, attributes: dict[str, str]) -> str:
        """By whoever may; a race with another that makes the same is won by both."""
        try:
            answer = await self._call("create_queue", queue, QueueName=queue, Attributes=attributes)
        except QueueDeniedError as error:
            raise QueueMissingError(f"there is no queue {queue!r}, and it may not be made: {error}") from error
        return str(answer["QueueUrl"])

    async def _url(self, queue: str) -> str:
        if queue not in self._urls:
            self._urls[queue] = str((await self._call("get_queue_url", queue, QueueName=queue))["QueueUrl"])
        return self._urls[queue]

    async def _call(self, operation: str, queue: str = "", /, **arguments: Any) -> Any:
        return await self._tried(partial(self._called, operation, arguments), queue)

    async def _tried(self, work: Callable[[], Any], queue: str) -> Any:
        """In a thread; after failures it waits first, so that nobody asks in a hot loop."""
        if self._failures:
            await asyncio.sleep(pause_s(self._failures))
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _MISSING:
                self._urls.pop(queue, None)
                raise QueueMissingError(f"there is no queue {queue!r}") from error
            self._failures += 1
            if code in _DENIED:
                self._client = None  # the Secret may be a newer one by now
                raise QueueDeniedError(f"{self._place.text()}: {error}") from error
            raise QueueUnavailableError(f"{self._place.text()}: {error}") from error
        except (BotoCoreError, OSError, RuntimeError, ValueError) as error:
            self._failures += 1  # a ValueError: what is said is no endpoint, or no text
            raise QueueUnavailableError(f"{self._place.text()}: {error}") from error
        self._failures = 0
        return answer

    def _polled(self, arguments: dict[str, Any], nobody: threading.Event) -> Any:
        """In a thread, which a cancellation does not end."""
        answer = self._called("receive_message", arguments)
        if nobody.is_set():
            for message in answer.get("Messages", ()):
                given = {"QueueUrl": arguments["QueueUrl"], "ReceiptHandle": message["ReceiptHandle"]}
                self._called("change_message_visibility", given | {"VisibilityTimeout": 0})
        return answer

    def _called(self, operation: str, arguments: dict[str, Any]) -> Any:
        """In a thread."""
        said = _credentials(self._credentials)
        if self._client is None or said != self._said:
            self._client, self._said = self._connected(said), said
        call: Callable[..., Any] = getattr(self._client, operation)
        return call(**arguments)

    def _connected(self, said: Mapping[str, str]) -> Any:
        ca = self._credentials / names.FILE_STORE_CA if self._credentials else None
        session = boto3.session.Session(
            aws_access_key_id=said.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=said.get("AWS_SECRET_ACCESS_KEY"),
            aws_session_token=said.get("AWS_SESSION_TOKEN"),
            region_name=self._place.region,
        )
        return session.client(
            "sqs",
            endpoint_url=self._place.endpoint or None,
            verify=str(ca) if ca is not None and ca.exists() else None,
            config=Config(
                connect_timeout=10, read_timeout=LONGEST_POLL_S + 20, max_pool_connections=_THREADS,
                retries={"total_max_attempts": 2, "mode": "standard"}, tcp_keepalive=True,
            ),
        )  # fmt: skip


def _credentials(folder: Path | None) -> Mapping[str, str]:
    """What the files say now."""
    if folder is None:
        return {}
    found = {}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        if os.path.exists(path := folder / name):  # noqa: PTH110 - three of these per call
            found[name] = path.read_text().strip()
    return found
