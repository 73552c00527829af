"""Policy: the StorageReady condition of a job whose store is a bucket: from how its aggregator runs, or why it ended."""

from fedapi.crd.storage import Bucket, cloud_of
from fedapi.outcome import Exit
from fedapi.outcome import reason as reason_of
from fedoperator.decide import failures, pending
from fedoperator.decide.context import JobContext
from fedoperator.decide.facts import Fact, clipped
from fedoperator.decide.reasons import Reason
from fedoperator.desired.store_place import uri

_OF_THE_STORE = frozenset(
    map(reason_of, (Exit.STORE_UNFIT, Exit.STORE_DENIED, Exit.STORE_FAILED, Exit.STORE_DAMAGED, Exit.BAD_SETTINGS))
)


def fact(context: JobContext) -> Fact | None:
    """The condition; None: the store is a volume, about which its claim tells."""
    bucket = context.spec.storage.bucket
    if bucket is None:
        return None
    if context.status.outcome is not None:
        return Fact("Unknown", Reason.FINISHED, "the job has ended: nobody uses the store")
    if context.status.trouble and context.aggregator_pods:
        return Fact("False", Reason.STORE_FAILING, context.status.trouble)
    if context.aggregator_ready:
        return Fact("True", Reason.READY, f"the aggregator reads and writes {uri(bucket, '')}")
    ended = failures.aggregator_failure(context)
    if ended and ended.reason in _OF_THE_STORE:
        return Fact("False", ended.reason, ended.message)
    return _without_credentials(context, bucket) or Fact("Unknown", Reason.STARTING, "the aggregator is not ready yet")


def _without_credentials(context: JobContext, bucket: Bucket) -> Fact | None:
    """That the aggregator's pod waits for what it mounts, of which only its credentials are the user's to make."""
    asked = bucket.credentials_secret_ref
    waits = any(
        found is not None and found.reason == Reason.MOUNT_PENDING
        for found in (pending.trouble(context, pod) for pod in context.aggregator_pods if pending.lacks_source(pod))
    )
    if asked is None or not waits:
        return None
    field = f"spec.storage.{cloud_of(bucket)}.credentialsSecretRef"
    message = f"Secret {asked.name} ({field}) is missing, or another volume of the aggregator's pod: create it"
    return Fact("False", Reason.CREDENTIALS_MISSING, clipped(message))
