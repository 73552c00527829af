"""Queues in pods: the aggregator's and each site's own Secret, and no word of them where nobody asked."""

import pytest

from fedapi import names
from fedapi.crd.events import Events, SiteEvents
from fedoperator.desired import queues
from tests.unit.fedoperator import samples as s

HUB = {"credentialsSecretRef": {"name": "fedloom-queue-hub"}}
RABBIT = {"rabbitMQ": {"host": "broker.example", "tls": False, "vhost": "lab"} | HUB}
SQS = {"sqs": {"region": "eu-central-1", "queuePrefix": "team"}, "arrivals": "updates"}


def spec(events):
    return s.job().spec.model_copy(update={"events": Events.model_validate(events) if events else None})


def site(events):
    said = None if events is None else SiteEvents.model_validate(events)
    return s.site("oslo").spec.model_copy(update={"events": said})


def test_the_aggregator_is_told_the_place_and_mounts_its_secret():
    assert queues.hub_environment(spec(RABBIT)) == {
        names.ENV_QUEUES: "amqp://broker.example:5672/lab",
        names.ENV_QUEUES_CREDENTIALS_DIR: names.PATH_QUEUES_CREDENTIALS,
    }
    (mount,) = queues.hub_mounts(spec(RABBIT))
    assert mount.source["secret"]["secretName"] == "fedloom-queue-hub"
    assert mount.read_only


def test_a_cloud_s_workload_identity_needs_no_secret():
    told = {names.ENV_QUEUES: "sqs:team?region=eu-central-1", names.ENV_ARRIVALS_QUEUE: "updates"}
    assert queues.hub_environment(spec(SQS)) == told
    assert queues.hub_mounts(spec(SQS)) == ()


@pytest.mark.parametrize(
    ("job", "of_site", "variables"),
    [
        (RABBIT, None, set()),
        (None, {"credentialsSecretRef": {"name": "fedloom-queue-oslo"}}, set()),
        (RABBIT, {}, {names.ENV_QUEUES}),
        (
            RABBIT,
            {"credentialsSecretRef": {"name": "fedloom-queue-oslo"}},
            {names.ENV_QUEUES, names.ENV_QUEUES_CREDENTIALS_DIR},
        ),
    ],
)
def test_a_site_speaks_by_queue_where_both_the_job_and_the_site_say_so(job, of_site, variables):
    assert set(queues.site_environment(spec(job), site(of_site))) == variables
    mounted = [mount.source["secret"]["secretName"] for mount in queues.site_mounts(spec(job), site(of_site))]
    assert mounted == (["fedloom-queue-oslo"] if names.ENV_QUEUES_CREDENTIALS_DIR in variables else [])
