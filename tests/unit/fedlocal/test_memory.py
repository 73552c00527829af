"""Memory that a run needs and that there is: of the machine, and of control groups of both versions."""

import pytest

from fedlocal import memory
from fedlocal.memory import Footprint

MEMINFO = "MemTotal: 9 kB\nMemAvailable: 4194304 kB\nSwapFree: 1048576 kB\n"
V1_NONE, V2_NONE = str((1 << 63) - 4096), "max"


def machine(root, cgroup="", **files):
    for path, text in {"proc/meminfo": MEMINFO, "proc/self/cgroup": cgroup, **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def group(folder, limit, used, cache, names=("memory.max", "memory.current", "inactive_file")):
    return {
        f"{folder}/{names[0]}": limit,
        f"{folder}/{names[1]}": used,
        f"{folder}/memory.stat": f"{names[2]} {cache}\n",
    }


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
GIB = 1 << 30


@pytest.mark.parametrize(
    ("cgroup", "files", "mib"),
    [
        ("", {}, 5120),
        ("0::/a/b\n", group("sys/fs/cgroup/a/b", V2_NONE, "1", "0"), 5120),
        ("0::/a/b\n", group("sys/fs/cgroup/a", str(3 * GIB), str(2 * GIB), str(GIB // 2)), 1536),
        ("0::/a\n", group("sys/fs/cgroup", str(2 * GIB), str(GIB), "0"), 1024),  # a container that sees only its own
        ("4:memory:/a\n0::/\n", group("sys/fs/cgroup/memory/a", str(2 * GIB), "0", "0", V1), 2048),
        ("4:memory:/a\n", group("sys/fs/cgroup/memory/a", V1_NONE, "0", "0", V1), 5120),
    ],
)
def test_the_least_of_machine_and_control_groups_is_free(tmp_path, cgroup, files, mib):
    assert memory.free_mib(machine(tmp_path, cgroup, **files)) == mib


def test_nothing_is_known_where_nobody_tells(tmp_path):
    assert memory.free_mib(tmp_path) is None


def test_only_sites_that_run_together_count_the_largest_first():
    sites = [Footprint(1, 1)] * 100 + [Footprint(2, 4)]
    ring = 4 * memory.LOADED_MIB + 2 * memory.LAUNCHER_MIB
    assert memory.needed_mib(sites, 101, forked=True) == memory.HUB_MIB + 100 * memory.FORKED_MIB + ring
    assert memory.needed_mib(sites, 2, forked=False) == memory.HUB_MIB + memory.LOADED_MIB + ring


SHARING, RING = Footprint(1, 1, shares=True), Footprint(2, 4)
FEW, MANY = [SHARING] * 4, [SHARING] * 1000


@pytest.mark.parametrize(
    ("sites", "at_once", "free", "wish", "shares"),
    [
        (FEW, 4, 8000, "auto", False),
        (FEW, 4, 500, "auto", True),  # they would not fit otherwise
        (FEW, 4, None, "auto", False),
        (FEW, 4, 8000, "shared", True),
        (MANY, 1000, 800_000, "auto", True),
        (MANY, 1000, 800_000, "own", False),
        (MANY, 10, 8000, "auto", False),  # of lifetime Round: ten at a time
        ([RING] * 50, 50, 500, "shared", False),
    ],
)
def test_sites_share_trainers_where_they_are_many_or_would_not_fit_or_it_is_asked_for(
    sites, at_once, free, wish, shares
):
    plan = memory.plan(sites, at_once, free, wish, forked=True)
    assert bool(plan.trainers) is shares


@pytest.mark.parametrize(("free", "trainers"), [(None, 4), (3000, 4), (1331, 4), (1330, 2), (500, 2)])
def test_two_trainers_more_than_cores_compute_while_others_wait_if_they_fit(monkeypatch, free, trainers):
    monkeypatch.setattr(memory.os, "cpu_count", lambda: 2)
    plan = memory.plan(MANY, 1000, free, "shared", forked=True)
    assert (plan.trainers, plan.sharing) == (trainers, 1000)
    assert plan.needed_mib == 1331 - 70 * (4 - trainers)


def test_a_thousand_sites_that_share_are_reckoned_to_fit_where_the_issue_wants_them():
    assert memory.plan(MANY, 1000, None, "shared", forked=True).needed_mib < 2560


def test_rings_beside_sites_that_share_count_with_all_their_ranks():
    plan = memory.plan([*MANY, RING], 1001, None, "auto", forked=True)
    ring = 4 * memory.LOADED_MIB + 2 * memory.LAUNCHER_MIB
    trainers = plan.trainers * memory.SHARED_MIB
    assert plan.needed_mib == pytest.approx(memory.HUB_MIB + trainers + ring + 1000 * memory.WAITING_MIB, abs=1)
