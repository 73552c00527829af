"""The generation service over HTTP: who may ask, what is refused, and long polls."""

import threading

import httpx
import pytest

from fedtrainer.errors import BadSettingsError, RefusedError
from fedtrainer.launch import generations as g
from fedtrainer.launch.client import Client
from fedtrainer.launch.messages import PATH_JOIN, PATH_REPORT, JoinRequest, Place, Report, WatchRequest
from fedtrainer.launch.service import Service
from tests.waiting import PATIENCE_S


@pytest.fixture
def service():
    with Service(g.Rules(workers=2, min_workers=2), "secret", 0) as made:
        yield made


def line(service: Service, token: str = "secret") -> Client:
    return Client("127.0.0.1", service.port, token, PATIENCE_S)


def join(worker: int, **values) -> JoinRequest:
    return JoinRequest(place=Place.of(g.Worker(worker, f"{worker}", "127.0.0.1", 1)), slots=1, **values)


@pytest.mark.parametrize(
    ("path", "headers", "content", "status"),
    [
        (PATH_JOIN, {}, b"{}", 401),
        (PATH_JOIN, {"Authorization": "Bearer secre"}, b"{}", 401),
        (PATH_JOIN, {"Authorization": "Bearer s\xe9cret"}, b"{}", 401),
        (PATH_JOIN, {"Authorization": "Bearer secret"}, b"{}", 400),
        (PATH_JOIN, {"Authorization": "Bearer secret"}, b"x" * 20_000, 413),
        ("/v1/else", {"Authorization": "Bearer secret"}, b"{}", 404),
        (PATH_REPORT, {"Authorization": "Bearer secret"}, b'{"worker": -1}', 400),
    ],
)
def test_what_is_refused(service, path, headers, content, status):
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    url = f"http://127.0.0.1:{service.port}{path}"
    with httpx.Client(trust_env=False) as client:
        assert client.post(url, headers=raw, content=content).status_code == status


def test_refusals_reach_the_launcher_as_errors(service):
    with line(service, "other") as client, pytest.raises(RefusedError, match="token"):
        client.join(join(1))
    with line(service) as client:
        with pytest.raises(BadSettingsError, match="of another pool"):
            client.join(join(2))
        done = Report(worker=1, incarnation="1", generation=1, what="Finished")
        with pytest.raises(BadSettingsError, match="only worker 0"):
            client.report(done, PATIENCE_S)


def test_a_held_question_is_answered_by_the_event(service):
    with line(service) as zero, line(service) as one:
        answers = []
        asking = threading.Thread(target=lambda: answers.append(zero.join(join(0))))
        asking.start()
        second = one.join(join(1))
        asking.join(PATIENCE_S)
        assert answers == [second]
        assert second == g.Start(g.Generation(1, (join(0).place.value(), join(1).place.value())))
        watch = threading.Thread(
            target=lambda: answers.append(one.watch(WatchRequest(worker=1, incarnation="1", generation=1)))
        )
        watch.start()
        zero.report(Report(worker=0, incarnation="0", generation=1, what="Finished"), PATIENCE_S)
        watch.join(PATIENCE_S)
        assert answers[1] == g.Done()
        assert service.everybody_knows()
