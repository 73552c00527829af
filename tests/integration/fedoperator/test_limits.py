"""The API server takes the largest objects of a job with as many sites as it can have."""

import pytest

from fedapi import names
from fedapi.wire.roster import MAX_SITES, RosterEntry
from fedoperator.cluster.connection import APPLY_PATCH
from fedoperator.decide.reasons import Reason
from fedoperator.desired import access
from fedoperator.desired.config import config_map
from fedoperator.desired.identity import Identity
from fedoperator.desired.kinds import BY_KIND
from tests.integration.fedoperator.kit import MANAGER
from tests.unit.fedoperator import samples as s

pytestmark = pytest.mark.apiserver

LONG = [f"s{number:06d}-".ljust(63, "x") for number in range(MAX_SITES)]


@pytest.mark.parametrize(
    "made",
    [
        config_map(
            s.job(), tuple(RosterEntry(name=n, eligible=False, reason=Reason.AWAITING_AGGREGATOR) for n in LONG)
        ),
        access.aggregator_role(Identity("", "heart", s.UID), LONG),
    ],
    ids=["ConfigMap", "Role"],
)
def test_it_is_admitted_and_applied_again(api, namespace, made):
    kind, name = made["kind"], made["metadata"]["name"]
    metadata = {**made["metadata"], "namespace": namespace, "ownerReferences": []}
    path = BY_KIND[kind].path(namespace, name)
    for label in ("one", "two"):  # the second one has managedFields to merge with
        labels = {**metadata["labels"], names.LABEL_MONITORING: label}
        body = {**made, "metadata": {**metadata, "labels": labels}}
        api.connection.request("PATCH", path, body, content_type=APPLY_PATCH, query=MANAGER)
    assert api.get(kind, namespace, name)["metadata"]["labels"][names.LABEL_MONITORING] == "two"
