"""What a site says that it has: the container's limits where they are less than the machine's."""

import pytest

from fedtrainer.capability import cpus, memory


@pytest.mark.parametrize(
    ("limit", "shown"), [("50000 100000", "500m"), ("100000 100000", "1"), ("25000 100000", "250m")]
)
def test_a_limit_of_processors(tmp_path, limit, shown):
    (tmp_path / "cpu.max").write_text(limit + "\n")
    assert cpus(tmp_path) == shown


def test_without_a_limit_the_machine_counts(tmp_path):
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cpus(tmp_path) == cpus(tmp_path / "none")
    assert int(cpus(tmp_path)) >= 1


def test_memory(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       16384000 kB\nMemFree: 1 kB\n")
    assert memory(tmp_path, meminfo) == "16000Mi"
    (tmp_path / "memory.max").write_text("max\n")
    assert memory(tmp_path, meminfo) == "16000Mi"
    (tmp_path / "memory.max").write_text(f"{2 << 30}\n")
    assert memory(tmp_path, meminfo) == "2048Mi"
    assert memory(tmp_path / "none", tmp_path / "none") is None
