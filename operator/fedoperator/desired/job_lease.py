"""The Lease of a job whose store does not tell two writers apart: its aggregator writes only while it holds it.

Made here, because no right to create can be limited to a name. Holder, times and transitions are the aggregator's (fedaggregator.lease).
"""

from fedapi import names
from fedapi.jsonvalue import Json
from fedoperator.desired.identity import Identity


def job_lease(identity: Identity) -> Json:
    """The Lease as the operator applies it: nobody's."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": identity.metadata(names.job_lease_name(identity.name), names.ROLE_AGGREGATOR),
        "spec": {"leaseDurationSeconds": names.JOB_LEASE_S},
    }
