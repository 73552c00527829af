"""A launcher's questions to the generation service. Used by launcher.py and participation.py, from threads of their own.

Names that do not resolve, refused connections and 5xx answers are tried again until patience is over: worker 0 may
start later than the others, be replaced, and DNS lags behind both.
"""

import time
from types import TracebackType
from typing import Self

import httpx
from pydantic import ValidationError

from fedapi.wire.message import Message
from fedtrainer.agent.patience import pause_s
from fedtrainer.errors import BadSettingsError, RefusedError, RingBrokenError
from fedtrainer.launch.generations import Answer
from fedtrainer.launch.messages import PATH_JOIN, PATH_REPORT, PATH_WATCH, JoinRequest, News, Report, WatchRequest

ANSWER_S = 15.0  # longer than the service holds a question
CONNECT_S = 5.0


class Client:
    """One launcher's line to worker 0."""

    def __init__(self, host: str, port: int, token: str, patience_s: float) -> None:
        self._url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._patience_s = patience_s
        self._http = httpx.Client(
            base_url=self._url,
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,  # no proxy between pods
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def join(self, request: JoinRequest) -> Answer:
        """Start, Wait (ask again), or an end."""
        return self._ask(PATH_JOIN, request, self._patience_s)

    def watch(self, request: WatchRequest) -> Answer:
        """Run (ask again), or what ends the generation."""
        return self._ask(PATH_WATCH, request, self._patience_s)

    def report(self, request: Report, patience_s: float) -> Answer:
        """Tells; RingBrokenError when nobody listened for `patience_s`."""
        return self._ask(PATH_REPORT, request, patience_s, patience_s)

    def _ask(self, path: str, request: Message, patience_s: float, answer_s: float = ANSWER_S) -> Answer:
        end, failures = time.monotonic() + patience_s, 0
        while True:
            try:
                return self._once(path, request, answer_s)
            except (httpx.TransportError, OSError) as error:
                if time.monotonic() > end:
                    text = f"worker 0 ({self._url}) does not answer for {patience_s:.0f} s: {error}"
                    raise RingBrokenError(text) from error
            time.sleep(min(pause_s(failures), 1.0))
            failures += 1

    def _once(self, path: str, request: Message, answer_s: float) -> Answer:
        timeout = httpx.Timeout(answer_s, connect=CONNECT_S)
        answer = self._http.post(path, content=request.model_dump_json(), timeout=timeout)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise RefusedError("token: worker 0 of this site's ring has another: mount the same Secret in all its pods")
        if answer.is_server_error:
            raise httpx.RemoteProtocolError(f"HTTP {answer.status_code}")
        if not answer.is_success:
            raise BadSettingsError(f"worker 0 of this site's ring: HTTP {answer.status_code}: {answer.text[:500]}")
        try:
            return News.model_validate_json(answer.content).value()
        except ValidationError as error:
            raise BadSettingsError("worker 0 of this site's ring speaks another protocol: use one image") from error
