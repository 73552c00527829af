"""Every request that reaches the application becomes a record of the access log. Around the application, made by server.py.

What is no request (a head that is none, or is over a limit) is told by protocol.py.
"""

from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedaggregator import accesslog
from fedaggregator.accesslog import Call


class Access:
    """The application, with its calls recorded."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        client = scope.get("client")
        made = Call("HTTPS", str(client[0]) if client else "", scope["method"], scope["path"])

        async def received() -> Message:
            message = await receive()
            made.bytes_in += len(message.get("body", b""))
            return message

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                made.status = message["status"]
                if made.status >= HTTPStatus.BAD_REQUEST and not made.outcome:
                    made.outcome = f"HTTP{made.status}"
            made.bytes_out += len(message.get("body", b""))
            await send(message)

        with accesslog.call(made):
            await self._application(scope, received, sent)
