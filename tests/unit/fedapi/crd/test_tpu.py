"""The table of TPU slices, and the page that shows it."""

import re
from pathlib import Path

from fedapi.crd.tpu import TPU_TYPES, chips, combinations, counts, default_count


def test_the_table_of_slices_is_consistent():
    """The rules of the resource look chips per host up by topology alone, and default to default_count."""
    allowed: dict[str, set[tuple[int, ...]]] = {}
    for type_, topology, count in combinations():
        allowed.setdefault(topology, set()).add(counts(type_, topology))
        assert chips(topology) % count == 0
        assert default_count(topology) in counts(type_, topology)
    assert {topology for topology, found in allowed.items() if len(found) > 1} == set()


def test_the_page_has_every_slice():
    page = (Path(__file__).parents[4] / "docs" / "pools.md").read_text()
    rows = re.findall(r"^\| (\w+) \| `(tpu[-\w]+)` \| ([^|]+) \| ([^|]+) \|$", page, flags=re.MULTILINE)
    told = {
        (type_, topology, int(count))
        for _, type_, count, topologies in rows
        for topology in re.findall(r"\d+x[\dx]+", topologies)
    }
    assert told == set(combinations())
    assert {(row[1], row[0]) for row in rows} == {(name, kind.generation) for name, kind in TPU_TYPES.items()}
