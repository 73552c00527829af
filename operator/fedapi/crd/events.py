"""Queues of a job: `spec.events` of a FederatedJob says where they are, `spec.events` of an FLClient with what it speaks to them.

A place in the API becomes a place on the wire (fedapi.wire.broker) here. Credentials are named, never held.
"""

from typing import Annotated

from pydantic import ConfigDict, Field

from fedapi import names
from fedapi.crd.fields import Name, Part, rule, rules
from fedapi.wire import broker

_PREFIX = "Begin of the names of all queues of the job, so that a policy can name them."
ARRIVALS_OF_S3 = rule(  # of a FederatedJob's spec
    "!has(self.events) || !has(self.events.arrivals) || has(self.storage.s3)",
    "events.arrivals goes with storage.s3: only a bucket of S3 tells what arrives in it",
    ".events.arrivals",
)
CERTIFIED = rule(  # the same
    "!has(self.events) || self.clients.certificates != 'Required'",
    "events goes with clients.certificates Optional: a message of a queue has no connection that could show a certificate, so a "
    "token alone would be enough; remove events, or set certificates: Optional and give the sites keys (spec.identity)",
    ".events",
)
QueuePrefix = Annotated[str, Field(max_length=20, pattern=broker.PREFIX_PATTERN)]


class QueueSecretRef(Part):
    """A Secret of the same namespace."""

    name: Name = Field(
        description=f"Name of the Secret; it begins with {names.QUEUE_SECRET_PREFIX}.",
        json_schema_extra=rules(
            rule(
                f"self.startsWith('{names.QUEUE_SECRET_PREFIX}')",
                f"must begin with {names.QUEUE_SECRET_PREFIX}: who may write jobs or sites gets no other Secret mounted",
            )
        ),
    )


class SqsEvents(Part):
    """Queues of Amazon SQS, or of what speaks its protocol."""

    region: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9-]+$")] = Field(
        description="Region that they are in."
    )
    endpoint: Annotated[str, Field(max_length=253, pattern=r"^https?://[A-Za-z0-9.:_\[\]-]+$")] | None = Field(
        None, description="Address of a service that is not the cloud's own; ca.crt of the Secret verifies it."
    )
    queue_prefix: QueuePrefix = Field(broker.DEFAULT_PREFIX, description=_PREFIX)
    credentials_secret_ref: QueueSecretRef | None = Field(
        None,
        description="Secret of the aggregator: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; it is read "
        "again when it changes. Absent: the workload identity of its pod.",
    )


class RabbitMQEvents(Part):
    """Queues of a RabbitMQ."""

    host: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.:-]+$")] = Field(
        description="Name or address of the broker, as the aggregator and the sites reach it."
    )
    port: int | None = Field(None, ge=1, le=65535, description="Its port; absent: 5671, or 5672 without TLS.")
    vhost: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9._/-]+$")] = Field(
        "/", description="Virtual host."
    )
    tls: bool = Field(True, description="False: the connection is not encrypted; what the queues hold is.")
    queue_prefix: QueuePrefix = Field(broker.DEFAULT_PREFIX, description=_PREFIX)
    credentials_secret_ref: QueueSecretRef = Field(
        description="Secret of the aggregator: username, password, and ca.crt where the broker's certificate needs it."
    )


class Events(Part):
    """Where a job's queues are."""

    sqs: SqsEvents | None = Field(None, description="Queues of Amazon SQS.")
    rabbit_mq: RabbitMQEvents | None = Field(None, alias="rabbitMQ", description="Queues of a RabbitMQ.")
    arrivals: Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9_-]+$")] | None = Field(
        None,
        description="Queue of the same place into which the bucket of storage.s3 sends its notifications for this job's "
        "prefix; the aggregator looks at an upload as soon as one comes. Absent: when the site hands it in.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("has(self.sqs) != has(self.rabbitMQ)", "events needs sqs or rabbitMQ, one of them"),
        )
    )

    def place(self) -> broker.Broker:
        """On the wire."""
        if self.sqs is not None:
            return broker.Sqs(self.sqs.region, self.sqs.endpoint or "", self.sqs.queue_prefix)
        rabbit = self.rabbit_mq
        if rabbit is None:
            raise ValueError("events needs sqs or rabbitMQ, one of them")
        port = rabbit.port or (5671 if rabbit.tls else 5672)
        return broker.RabbitMQ(rabbit.host, port, rabbit.vhost, rabbit.tls, rabbit.queue_prefix)

    @property
    def secret(self) -> str:
        """Name of the aggregator's Secret; empty: none."""
        ref = self.sqs.credentials_secret_ref if self.sqs else self.rabbit_mq and self.rabbit_mq.credentials_secret_ref
        return ref.name if ref else ""


class SiteEvents(Part):
    """With what a site speaks to the queues of its jobs."""

    credentials_secret_ref: QueueSecretRef | None = Field(
        None,
        description="The site's own Secret for the queues, as the job's: for SQS the SDK's variables, for RabbitMQ username, "
        "password and ca.crt. It needs to send to the job's queue and to receive from the site's alone. Absent: the "
        "workload identity of the site's pods.",
    )
