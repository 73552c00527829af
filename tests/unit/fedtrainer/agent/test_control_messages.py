"""What the trainer says of itself, and what it makes of the answers of other versions."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from fedapi.wire.protocol import DP_SGD, ENCRYPTED_SUMS, FEATURES, OLDEST_AT_SITE, PROTOCOL
from fedapi.wire.site import Assignment
from fedtrainer.agent.control import Control
from fedtrainer.agent.transport import Https
from fedtrainer.errors import BadSettingsError
from fedtrainer.settings import TrainerSettings

ANSWERS = Path(__file__).parents[3] / "golden" / "fedapi"


def control(status: int, body: bytes, said: list[dict] | None = None) -> Control:
    class Answers:
        def post(self, path: str, headers: dict[str, str], sent: bytes, answer_s: float) -> tuple[int, bytes]:
            assert path == "/v1/sites/oslo/next"
            assert headers["Authorization"] == "Bearer token"
            assert answer_s >= 60.0
            if said is not None:
                said.append(json.loads(sent))
            return status, body

    settings = TrainerSettings.model_construct(
        aggregator_url="https://hub:8443", client="oslo", job_uid="0b9a", patience_s=1.0
    )
    return Control(Https(Answers(), settings, SecretStr("token")), settings)


def test_each_question_says_what_the_trainer_speaks():
    said: list[dict] = []
    asks = control(200, b'{"kind": "Wait"}', said)
    asks.next(20.0)
    asks.peek(5.0, (7, 2))
    speaks = {"protocol": PROTOCOL, "oldest_protocol": OLDEST_AT_SITE, "features": [*FEATURES, DP_SGD, ENCRYPTED_SUMS]}
    assert said == [{"wait_s": 20.0, "doing": None} | speaks, {"wait_s": 5.0, "doing": [7, 2]} | speaks]


@pytest.mark.parametrize("version", ["version1", "version2"])
@pytest.mark.parametrize("name", ["train", "evaluate", "wait", "drop", "done"])
def test_answers_of_each_version_are_read(version, name):
    body = (ANSWERS / version / "to-site" / f"{name}.json").read_bytes()
    answer = control(200, body).next(0.0)
    assert answer == Assignment.told(body)
    assert answer.kind == name.capitalize()
    newer = json.dumps(json.loads(body) | {"newer": {"hub": 3}}).encode()
    assert control(200, newer).next(0.0) == answer


@pytest.mark.parametrize(
    ("code", "message", "told"),
    [
        ("Incompatible", "site 'oslo': it speaks protocol 9", "Incompatible: HTTP 422 Incompatible: site 'oslo'"),
        (
            "Malformed",
            "not a NextRequest: protocol: Extra inputs are not permitted",  # what a hub of 0.1 says
            f"https://hub:8443/v1/sites/oslo does not speak protocol {PROTOCOL}: build the task image",
        ),
    ],
)
def test_a_hub_that_does_not_fit_ends_the_trainer_with_the_way_out(code, message, told):
    body = json.dumps({"code": code, "message": message}).encode()
    with pytest.raises(BadSettingsError) as error:
        control(422, body).next(0.0)
    assert told in str(error.value)
    assert message in str(error.value)
