"""From the body of a request to a message, bounded in bytes and in time before it is parsed; and back.

Used by the site routes.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

from starlette.responses import Response
from starlette.types import Receive

from fedaggregator.errors import RequestRefusedError
from fedaggregator.http.pace import Pace
from fedaggregator.limits import Limits
from fedaggregator.requests.parsing import parsed
from fedapi.wire.message import Message
from fedapi.wire.site import Refusal

_M = TypeVar("_M", bound=Message)


async def chunks(receive: Receive, pace: Pace) -> AsyncGenerator[bytes]:
    """The parts of a body as they come; RequestRefusedError when they stop coming, come too slowly, or the client is gone."""
    loop, more = asyncio.get_running_loop(), True
    while more:
        began = loop.time()
        try:
            async with asyncio.timeout(pace.left_s):
                message = await receive()
        except TimeoutError as error:
            raise slow(pace) from error
        if message["type"] == "http.disconnect":
            raise incomplete()
        body, more = message.get("body", b""), message.get("more_body", False)
        if not pace.moved(loop.time() - began, len(body)):
            raise slow(pace)
        yield body


async def received(
    receive: Receive, model: type[_M], limits: Limits, most_bytes: int | None = None, sites: int = 0
) -> _M:
    """The message of a request; RequestRefusedError when it is too large, too slow, or none. `sites`: as of `parsed`."""
    most_bytes = most_bytes or limits.message_bytes
    data = bytearray()
    async for chunk in chunks(receive, Pace(limits.header_s, limits.least_bytes_per_s)):
        data += chunk
        if len(data) > most_bytes:
            raise _refused("TooLarge", f"a message has at most {most_bytes} bytes")
    return parsed(bytes(data), model, sites)


def sent(message: Message) -> Response:
    """A message as an answer."""
    return Response(message.model_dump_json(), media_type="application/json")


async def gone(receive: Receive) -> None:
    """Ends when the client of a request, whose body was received, is gone or has its answer."""
    while (await receive())["type"] != "http.disconnect":
        pass


def slow(pace: Pace) -> RequestRefusedError:
    """A body that comes too slowly."""
    least = f"{pace.least_bytes_per_s} bytes a second for {pace.stall_s:g} s"
    return _refused("TooSlow", f"the body came slower than {least}: send it again")


def incomplete() -> RequestRefusedError:
    """A body whose client is gone."""
    return _refused("Incomplete", "the connection ended before the body did: send it again")


def _refused(code: str, message: str) -> RequestRefusedError:
    return RequestRefusedError(Refusal.model_validate({"code": code, "message": message}))
