"""Every process has a log of its own, whatever its site is called."""

from itertools import product

from fedlocal.kubelet import log_name

SITES = {"aggregator", "init", "fork-server", "north", "north-0", "north-0-1", "site"}


def test_no_two_processes_share_a_log():
    made = [(role, None, None) for role in ("aggregator", "init")] + [("fork-server", None, None)]
    made += [("trainer", client, index) for client, index in product(SITES, (None, 0, 1))]
    names = {entry: log_name(*entry, SITES) for entry in made}
    per_site = {entry: name for entry, name in names.items() if entry[1] is None or entry[2] is None}
    assert len(set(per_site.values())) == len(per_site)
    for client in SITES:  # a site has either one process or numbered ones
        mixed = [name for entry, name in per_site.items() if entry[1] != client]
        workers = [names["trainer", client, index] for index in (0, 1)]
        assert not set(workers) & set(mixed)
    assert names["aggregator", None, None] == "aggregator"
    assert names["trainer", "north", None] == "north"
    assert names["trainer", "north", 1] == "north-1"
