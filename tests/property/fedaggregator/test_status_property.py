"""Whatever sites may say can be told in the job's status, and be read by its schema: one that cannot ends the process."""

import json

from hypothesis import given
from hypothesis import strategies as st

from fedaggregator.status import status
from fedapi.crd.job_status import FederatedJobStatus
from fedapi.printable import visible
from fedapi.wire.metrics import MAX_METRIC, MAX_METRIC_NAME, MAX_SAMPLES
from fedapi.wire.site import EvaluationReport
from fedcore.rounds import admission, machine
from fedcore.rounds.events import Accepted, Evaluated, Refused, SiteFailed
from fedcore.rounds.state import State
from tests.unit.fedcore.rounds.test_round_rules import A, collecting, manifest

SITES = "abc"
TEXT = st.text(st.characters(codec="utf-8"), max_size=1024)  # what JSON can say
NUMBERS = st.floats(-MAX_METRIC, MAX_METRIC) | st.sampled_from([MAX_METRIC, -MAX_METRIC, 1e-99, 1e-100, 5e-324, -0.0])
METRICS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=MAX_METRIC_NAME), NUMBERS, max_size=5
)


def evaluated(state: State, site: str, samples: int, metrics: dict[str, float]) -> State:
    report = EvaluationReport(job_uid="uid", round=0, client=site, model_sha256=A, samples=samples, metrics=metrics)
    if admission.evaluated(state, site, report) is not None:
        return state
    return machine.step(state, Evaluated(11.0, report))[0]


@given(
    st.lists(st.tuples(st.integers(0, MAX_SAMPLES), METRICS), min_size=3, max_size=3),
    st.floats(0, MAX_METRIC),
    st.tuples(TEXT, TEXT),
    st.text(st.characters(codec="utf-8"), max_size=63),
)
def test_any_words_and_numbers_of_sites_can_be_told(said, training_s, words, reason):
    state = collecting(SITES, quorum=1, max_samples=MAX_SAMPLES)
    for site, (samples, metrics) in zip(SITES, said, strict=True):
        state = evaluated(state, site, samples, metrics)
    samples, metrics = said[0]
    update = manifest(state, "a", samples, metrics=metrics, training_s=training_s)
    if admission.update(state, "a", update) is None:
        state, _ = machine.step(state, Accepted(12.0, update))
    state, _ = machine.step(state, SiteFailed(13.0, "b", 1, 1, reason, words[0]))
    state, _ = machine.step(state, Refused(13.0, "c", "Malformed", words[1]))
    told = json.loads(json.dumps(status(state)).encode())
    FederatedJobStatus.model_validate(told)
    messages = [client.get("message", "") for client in told["clients"]]
    assert messages == [*map(visible, messages)]
