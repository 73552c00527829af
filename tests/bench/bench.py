"""What the cases share in one run: a folder of their own, and the operator with its hundred jobs.

Made by __main__, handed to every case. Whatever a case starts is entered into `stack` and ends with the run.
"""

import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.bench import (
    actors,
    backups,
    cluster_job,
    crowd,
    fold_speed,
    hostile,
    many_sites,
    ring_speed,
    secagg_speed,
    site_registry,
    store_speed,
)
from tests.bench.fleet import LATE, LATE_EVERY_S, LATE_JOBS, SITES, Fleet

CLUSTER_ROUNDS = 15


@dataclass
class Bench:
    """One run."""

    work: Path
    stack: ExitStack = field(default_factory=ExitStack)

    def folder(self, name: str) -> Path:
        """A fresh folder, removed at the end of the run."""
        path = self.work / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    @cached_property
    def fleet(self) -> Fleet:
        """An API server, the operator's process and 100 jobs, applied once and shared by the operator's cases."""
        return self.stack.enter_context(Fleet.applied(self.folder("fleet")))

    @cached_property
    def on_cluster(self) -> cluster_job.Finished:
        """A job that was run on the local cluster, which ends again if the bench started it."""
        return cluster_job.finished(self.folder("cluster"), SITES, CLUSTER_ROUNDS)

    @cached_property
    def hundred(self) -> many_sites.ManySites:
        """The embedded runner with 100 sites that train the linear model of tasks/tiny.py."""
        return many_sites.measured(self.folder("hundred"), "tiny:task", 100, 4)

    @cached_property
    def thousand(self) -> many_sites.ManySites:
        """The embedded runner with 1,000 sites that add one to nine numbers."""
        return many_sites.measured(self.folder("thousand"), "addone:task", 1000, 4, parameters=9)

    @cached_property
    def crowds(self) -> dict[int, crowd.Crowd]:
        """What a round costs, by number of scripted sites."""
        return {count: crowd.measured(self.folder(f"crowd-{count}"), count) for count in (250, 500, 1000)}

    @cached_property
    def site_registry(self) -> site_registry.SiteRegistry:
        """5,000 sites on the default registry."""
        return site_registry.measured(self.folder("site-registry"))

    @cached_property
    def hostile(self) -> hostile.Hostile:
        """An aggregator under hostile clients."""
        return hostile.measured(self.folder("hostile"))

    @cached_property
    def ring_speed(self) -> ring_speed.Speed:
        """Two ranks beside one and beside torch's own."""
        return ring_speed.measured()

    @cached_property
    def secure_sum(self) -> secagg_speed.Speed:
        """10 sites with 25 M values, one of whom is lost."""
        return secagg_speed.measured(10, 7, 2, 25_000_000, 1)

    @cached_property
    def secure_sum_100(self) -> secagg_speed.Speed:
        """100 sites with 1 M values, 10 of whom are lost."""
        return secagg_speed.measured(100, 85, 10, 1_000_000, 10)

    @cached_property
    def store_speed(self) -> store_speed.Speed:
        """Objects put into and got from an S3 server."""
        return store_speed.measured(self.folder("store-speed"))

    @cached_property
    def backups(self) -> backups.Backups:
        """Backups of a job of 100 rounds with 100 MiB each."""
        return backups.measured(self.folder("backups"))

    @cached_property
    def fold_speed(self) -> fold_speed.FoldSpeed:
        """20 updates of 100 MB, folded by ours and by rivals."""
        return fold_speed.measured(self.folder("fold-speed"))

    @cached_property
    def running(self) -> list[str]:
        """20 more jobs of the fleet, applied two a second after the hundred, in training."""
        late = self.fleet.apply(LATE, LATE_JOBS, LATE_EVERY_S)
        actors.run(self.fleet, late)
        return late
