"""Prometheus metrics of the aggregator, all named fedloom_aggregator_*. Filled by engine/ and http/, read at /metrics.

What is counted over all sites is counted when it is read.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)

ROUND = Gauge("fedloom_aggregator_round_committed", "Last committed round.", registry=REGISTRY)
ATTEMPT = Gauge("fedloom_aggregator_round_attempt", "Attempt of the round under way.", registry=REGISTRY)
MODEL_BYTES = Gauge(
    "fedloom_aggregator_model_bytes",
    "Bytes of the last committed model: what a site fetches and sends in a round, without compression.",
    registry=REGISTRY,
)
BROADCAST_BYTES = Gauge(
    "fedloom_aggregator_broadcast_bytes",
    "Bytes of the last model that was encoded for the way down, by codec and form: Sent, as sites fetch it, and Plain.",
    ["codec", "form"],
    registry=REGISTRY,
)
BROADCAST_RATIO = Gauge(
    "fedloom_aggregator_broadcast_ratio",
    "How many times smaller the last model that was encoded for the way down is than the model itself.",
    registry=REGISTRY,
)
WHOLE_MODEL_BYTES = Gauge(
    "fedloom_aggregator_whole_model_bytes",
    "Bytes of the last committed model with the tensors that do not travel: frozen ones, and those of each site.",
    registry=REGISTRY,
)
EPOCH = Gauge("fedloom_aggregator_epoch", "Epoch of this process.", registry=REGISTRY)
SITES_CONNECTED = Gauge("fedloom_aggregator_sites_connected", "Sites heard within 5 minutes.", registry=REGISTRY)
SITES_INCOMPATIBLE = Gauge(
    "fedloom_aggregator_sites_incompatible",
    "Sites whose trainer does not fit: of another protocol, or without a feature that the job needs.",
    registry=REGISTRY,
)
UPDATES = Counter("fedloom_aggregator_updates_accepted", "Updates accepted.", registry=REGISTRY)
UPDATE_BYTES = Counter(
    "fedloom_aggregator_update_bytes",
    "Bytes of accepted updates, by codec and form: Sent, as they are kept, and Plain, as they would be without codec.",
    ["codec", "form"],
    registry=REGISTRY,
)
UPDATE_RATIO = Gauge(
    "fedloom_aggregator_update_ratio",
    "How many times smaller the last accepted update was than without codec, encryption included.",
    registry=REGISTRY,
)
CLIPPED = Counter(
    "fedloom_aggregator_clipped_values",
    "Values of accepted updates that were beyond the range of a sum of masked or encrypted updates, and were clipped to it.",
    registry=REGISTRY,
)
ANOMALIES = Counter(
    "fedloom_aggregator_anomalies",
    "Anomalous updates, by what is anomalous first (NormAboveOthers, NormAboveOwn, LayerAboveOthers, AgainstOthers) and action.",
    ["reason", "action"],
    registry=REGISTRY,
)
EVALUATIONS = Counter("fedloom_aggregator_evaluations_accepted", "Evaluation reports accepted.", registry=REGISTRY)
REFUSALS = Counter(
    "fedloom_aggregator_refusals",
    "Requests refused, by code of the refusal, Malformed and NoRoute included.",
    ["code"],
    registry=REGISTRY,
)
CONNECTIONS = Gauge("fedloom_aggregator_connections", "Open connections.", registry=REGISTRY)
CONNECTIONS_ENDED = Counter(
    "fedloom_aggregator_connections_ended",
    "Connections that the aggregator ended, by reason: Certificate, Crowded, Handshake, Header, Idle, Stalled, Lingering.",
    ["reason"],
    registry=REGISTRY,
)
SITE_FAILURES = Counter("fedloom_aggregator_site_failures", "Failures that sites reported.", registry=REGISTRY)
ATTEMPT_FAILURES = Counter("fedloom_aggregator_attempts_failed", "Attempts without a commit.", registry=REGISTRY)
FOLD_SECONDS = Histogram("fedloom_aggregator_fold_seconds", "Duration of a fold.", buckets=_SECONDS, registry=REGISTRY)
ROUND_SECONDS = Histogram(
    "fedloom_aggregator_round_seconds", "From the plan of a round to its commit.", buckets=_SECONDS, registry=REGISTRY
)
TRAINING_SECONDS = Gauge(
    "fedloom_aggregator_training_seconds",
    "Seconds that selected sites have trained, by what became of them: committed or lost.",
    ["outcome"],
    registry=REGISTRY,
)
GOODPUT = Gauge(
    "fedloom_aggregator_goodput",
    "Share of the seconds that selected sites have trained whose updates are in committed rounds.",
    registry=REGISTRY,
)
PRIVACY_EPSILON = Gauge(
    "fedloom_aggregator_privacy_epsilon",
    "Epsilon of one site that all committed rounds have spent, at the delta of spec.privacy; 0 in jobs without it.",
    registry=REGISTRY,
)
ROUNDS_SKIPPED = Counter(
    "fedloom_aggregator_rounds_skipped",
    "Rounds that nobody took part in, by reason: EmptyDraw, SmallDraw, NobodyDue.",
    ["reason"],
    registry=REGISTRY,
)
BYTES = Counter(
    "fedloom_aggregator_blob_bytes", "Bytes of models and updates, by direction.", ["direction"], registry=REGISTRY
)
DAMAGED = Counter(
    "fedloom_aggregator_damaged_objects", "Objects of the store found not to be what was written.", registry=REGISTRY
)
STORE_RETRIES = Counter("fedloom_aggregator_store_retries", "Store operations tried again.", registry=REGISTRY)
STATUS_FAILURES = Counter("fedloom_aggregator_status_failures", "Status writes that failed.", registry=REGISTRY)
QUEUE_MESSAGES = Counter(
    "fedloom_aggregator_queue_messages", "Messages of the job's queues, by direction.", ["direction"], registry=REGISTRY
)
QUEUE_DROPPED = Counter(
    "fedloom_aggregator_queue_dropped",
    "Messages of the queues that were not taken, by reason: Forged, Replayed (or delivered twice).",
    ["reason"],
    registry=REGISTRY,
)
QUEUE_FAILURES = Counter("fedloom_aggregator_queue_failures", "Calls to the broker that failed.", registry=REGISTRY)
ARRIVALS = Counter(
    "fedloom_aggregator_arrivals",
    "Objects that the bucket told of, by what came of it: Looked (an update that is waited for), Foreign (anything else).",
    ["outcome"],
    registry=REGISTRY,
)
