"""What launchers of a site say to each other, and almost right: a message, or invalid."""

import pytest
from pydantic import ValidationError

from fedtrainer.launch import generations
from fedtrainer.launch.messages import JoinRequest, News, Place, Report, WatchRequest
from tests.property.mutations import check

WHO = Place(worker=1, incarnation="a", address="10.0.0.1", reach_port=4000, store_port=4001)
SAID = (
    JoinRequest(place=WHO, slots=2, after=3, why="its ring broke"),
    WatchRequest(worker=1, incarnation="a", generation=3),
    Report(worker=1, incarnation="a", generation=3, what="Broken", why="x"),
    News.of(generations.Start(generations.Generation(4, (WHO.value(),)))),
)


@pytest.mark.parametrize("said", SAID, ids=lambda said: type(said).__name__)
def test_what_is_said_is_a_message_or_invalid(said):
    check(type(said).model_validate_json, [said.model_dump_json().encode()], ValidationError)
