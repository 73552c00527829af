"""The question for work of a site without a process: one connection that is kept, and what each answer leads to."""

import asyncio

import pytest

from fedapi import names
from fedapi.wire.download import Download
from fedapi.wire.message import MAX_INLINE_BYTES
from fedapi.wire.orders import TrainOrder
from fedapi.wire.site import Assignment, NextRequest, Refusal
from fedapi.wire.training import TrainingSettings
from fedlocal.questions import Questions
from fedtrainer.errors import AggregatorLostError, BadSettingsError, RefusedError

WAIT = Assignment(kind="Wait").model_dump_json()
REFUSAL = Refusal(code="Unauthorized", message="no such site").model_dump_json()


class Hub:
    """Gives one (status, body) after another; a status of 0 hangs up instead."""

    def __init__(self, *answers, close=False):
        self.answers, self.close = list(answers), close
        self.connections, self.heads, self.asked = 0, [], []

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            while self.answers:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
                self.heads.append(head)
                self.asked.append(NextRequest.model_validate_json(await reader.readexactly(length)))
                status, body = self.answers.pop(0)
                if status == 0:
                    return
                fields = f"Content-Length: {len(body)}\r\n" + ("Connection: close\r\n" if self.close else "")
                writer.write(f"HTTP/1.1 {status} X\r\n{fields}\r\n{body}".encode())
                if self.close:
                    return
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


def ask(tmp_path, hub, times=1, patience_s=30.0):
    async def run():
        server = await asyncio.start_server(hub.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        (tmp_path / names.FILE_TOKEN).write_text("abc\n")
        questions = Questions(f"https://127.0.0.1:{port}", "north", tmp_path, None, asyncio.Semaphore(1), patience_s)
        async with server:
            try:
                return [await asyncio.wait_for(questions.next(3.0), 30) for _ in range(times)]
            finally:
                questions.close()

    return asyncio.run(run())


def test_it_is_asked_with_the_sites_token_over_one_connection(tmp_path):
    hub = Hub((200, WAIT), (200, WAIT))
    answers = ask(tmp_path, hub, 2)
    assert [(answer.kind, text) for answer, text in answers] == [("Wait", WAIT)] * 2
    assert hub.connections == 1
    assert hub.heads[0].startswith("POST /v1/sites/north/next HTTP/1.1\r\n")
    assert "Authorization: Bearer abc\r\n" in hub.heads[0]
    assert [each.wait_s for each in hub.asked] == [3.0, 3.0]


def test_an_order_brings_the_largest_model_that_a_hub_may_put_in_it(tmp_path):
    model = Download(url="https://hub/model", sha256="0" * 64, size=1, expires_at=1.0, content=bytes(MAX_INLINE_BYTES))
    order = TrainOrder(
        round=1, attempt=1, model=model, evaluate=True, deadline=1.0, seed=0, training=TrainingSettings()
    )
    told = Assignment(kind="Train", train=order).model_dump_json()
    [(answer, text)] = ask(tmp_path, Hub((200, told)), patience_s=0.2)
    assert (answer.train, text) == (order, told)


def test_an_aggregator_that_closes_connections_is_asked_on_new_ones(tmp_path):
    hub = Hub((200, WAIT), (200, WAIT), close=True)
    assert len(ask(tmp_path, hub, 2)) == 2
    assert hub.connections == 2


@pytest.mark.parametrize("trouble", [(503, ""), (0, ""), (200, "no json"), (429, REFUSAL), ("x", "")])
def test_what_may_pass_is_tried_again(tmp_path, trouble):
    hub = Hub((200, WAIT), trouble, (200, WAIT))
    assert [answer.kind for answer, _ in ask(tmp_path, hub, 2)] == ["Wait", "Wait"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [((403, REFUSAL), RefusedError), ((404, REFUSAL), BadSettingsError), ((422, REFUSAL), BadSettingsError)],
)
def test_what_cannot_pass_ends_the_site(tmp_path, answer, error):
    with pytest.raises(error):
        ask(tmp_path, Hub(answer))


def test_patience_has_an_end(tmp_path):
    with pytest.raises(AggregatorLostError, match="asking for work"):
        ask(tmp_path, Hub(*[(503, "")] * 50), patience_s=0.2)
