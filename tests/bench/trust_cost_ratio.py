"""What TLS and digests cost of a round with a model of 100 MB: embedded, two sites whose training adds one to every parameter.

The bytes of the round (each of two sites fetches 100 MB and sends 100 MB) are moved by bare sockets with TLS and SHA-256 at both
ends, and by bare sockets without either, in as many processes on the same cores; the difference is what trust costs, and its
share of the wall time of a real round is the row. Certificates cost a handshake for each connection that is made, none for each round.
"""

from statistics import median

from tests.bench import bare_tls, embedded, records
from tests.bench.bench import Bench
from tests.bench.round_100mb_two_sites_s import PARAMETERS, ROUNDS, SITES
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    secure, plain = _moved_s(bench, plain=False), _moved_s(bench, plain=True)
    store = embedded.run(bench.folder("trust"), embedded.manifests("addone:task", SITES, ROUNDS, parameters=PARAMETERS))
    round_s = median(each.wall_s for each in records.rounds(store))
    secure, plain = (secure + _moved_s(bench, plain=False)) / 2, (plain + _moved_s(bench, plain=True)) / 2
    print(f"   bytes with TLS and SHA-256 {secure:.2f} s, without {plain:.2f} s; a round {round_s:.2f} s")
    return Row("trust_cost_ratio", max(0.0, secure - plain) / round_s, "ratio")


def _moved_s(bench: Bench, *, plain: bool) -> float:
    return bare_tls.median_s(bench.folder("bare-trust"), sites=SITES, size=4 * PARAMETERS, repeats=5, plain=plain)
