"""Prometheus metrics of the registry, all named fedloom_registry_*. Filled by its routes and its readings, read at /metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge

REGISTRY = CollectorRegistry()

HEARTBEATS = Counter(
    "fedloom_registry_heartbeats",
    "Heartbeats by result: Written, Recent (one was written within the minute), Failed (the table could not be written).",
    ["result"],
    registry=REGISTRY,
)
REFUSALS = Counter(
    "fedloom_registry_refusals", "Requests refused, by code of the refusal.", ["code"], registry=REGISTRY
)
SITES = Gauge(
    "fedloom_registry_sites", "Sites of the table at the last reading, by state.", ["state"], registry=REGISTRY
)
READ_AT = Gauge(
    "fedloom_registry_read_timestamp_seconds",
    "When the table was read last, in seconds since the epoch.",
    registry=REGISTRY,
)
READ_FAILURES = Counter("fedloom_registry_read_failures", "Readings of the table that failed.", registry=REGISTRY)
BACKUP_AT = Gauge(
    "fedloom_registry_backup_timestamp_seconds",
    "When the newest whole backup of the table was made, in seconds since the epoch.",
    registry=REGISTRY,
)
BACKUP_FAILURES = Counter(
    "fedloom_registry_backup_failures", "Times that the table was to be backed up and was not.", registry=REGISTRY
)
