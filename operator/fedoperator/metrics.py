"""Prometheus metrics of the operator (docs/reference/metrics.md). Counted by workers and writes, served by probes.

What can be read off is read at scrape time: queue depth, ages of the watches, jobs by phase.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_PREFIX = "fedloom_operator_"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True)
class BackupReading:
    """How the backups of a job stand; of jobs that are backed up."""

    namespace: str
    job: str
    verified_age_s: float
    healthy: bool


@dataclass(frozen=True)
class StorageReading:
    """Whether the bucket of a job is set up as it should be; of jobs of which that is known."""

    namespace: str
    job: str
    safe: bool


disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """All metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._looks = Counter(
            f"{_PREFIX}reconcile", "Looks at an object, by result.", ["result"], registry=self.registry
        )
        self._seconds = Histogram(
            f"{_PREFIX}reconcile_seconds", "Duration of a look.", buckets=_SECONDS, registry=self.registry
        )
        self._writes = Counter(
            f"{_PREFIX}writes",
            "Writes sent to the API server, by kind and verb.",
            ["kind", "verb"],
            registry=self.registry,
        )
        self._leader = Gauge(f"{_PREFIX}is_leader", "1 on the replica that acts.", registry=self.registry)

    def looked(self, result: str, seconds: float) -> None:
        """A look ended: ok, conflict, retry, gone or error."""
        self._looks.labels(result).inc()
        self._seconds.observe(seconds)

    def wrote(self, kind: str, verb: str) -> None:
        """A write is being sent."""
        self._writes.labels(kind, verb).inc()

    def leads(self, *, leads: bool) -> None:
        """Whether this replica acts."""
        self._leader.set(leads)

    def watch(
        self,
        depth: Callable[[], int],
        ages_s: Callable[[], Mapping[str, float]],
        phases: Callable[[], Iterable[str]],
        heard: Callable[[], Iterable[str]],
        registry_age_s: Callable[[], float],
        backups: Callable[[], Iterable[BackupReading]],
        storage: Callable[[], Iterable[StorageReading]],
    ) -> None:
        """What is read at scrape time."""
        self.registry.register(_Readings(depth, ages_s, phases, heard, registry_age_s, backups, storage))

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)


class _Readings(Collector):
    def __init__(
        self,
        depth: Callable[[], int],
        ages_s: Callable[[], Mapping[str, float]],
        phases: Callable[[], Iterable[str]],
        heard: Callable[[], Iterable[str]],
        registry_age_s: Callable[[], float],
        backups: Callable[[], Iterable[BackupReading]],
        storage: Callable[[], Iterable[StorageReading]],
    ) -> None:
        self._depth, self._ages_s, self._phases = depth, ages_s, phases
        self._heard, self._registry_age_s, self._backups, self._storage = heard, registry_age_s, backups, storage

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(f"{_PREFIX}queue_depth", "Objects that wait for a look.", value=self._depth())
        ages = GaugeMetricFamily(
            f"{_PREFIX}watch_age_seconds", "Seconds since a watch last showed life.", labels=["kind"]
        )
        for kind, age in self._ages_s().items():
            ages.add_metric([kind], age)
        yield ages
        jobs = GaugeMetricFamily(f"{_PREFIX}jobs", "FederatedJobs, by phase.", labels=["phase"])
        for phase, count in Tally(self._phases()).items():
            jobs.add_metric([phase], count)
        yield jobs
        sites = GaugeMetricFamily(
            f"{_PREFIX}sites", "FLClients, by the reason of their condition Connected.", labels=["connected"]
        )
        for reason, count in Tally(self._heard()).items():
            sites.add_metric([reason], count)
        yield sites
        yield GaugeMetricFamily(
            f"{_PREFIX}registry_age_seconds",
            "Seconds since the registry of sites last answered; infinite before, and where there is none.",
            value=self._registry_age_s(),
        )
        yield from self._of_backups()
        safe = GaugeMetricFamily(
            f"{_PREFIX}storage_safe",
            "1 where the job's condition StorageSafe is true, 0 where it is false; none where it is unknown.",
            labels=["namespace", "job"],
        )
        for each in self._storage():
            safe.add_metric([each.namespace, each.job], int(each.safe))
        yield safe

    def _of_backups(self) -> Iterable[Metric]:
        whose = ["namespace", "job"]
        ages = GaugeMetricFamily(
            f"{_PREFIX}backup_verified_age_seconds",
            "Seconds since a backup of a job was last restored and found right; infinite before.",
            labels=whose,
        )
        healthy = GaugeMetricFamily(
            f"{_PREFIX}backup_healthy", "1 where the job's condition BackupHealthy is true, else 0.", labels=whose
        )
        for each in self._backups():
            ages.add_metric([each.namespace, each.job], each.verified_age_s)
            healthy.add_metric([each.namespace, each.job], int(each.healthy))
        yield ages
        yield healthy
