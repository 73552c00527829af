"""What TLS, digests and signatures cost of a round with a model of 100 MB: embedded, two sites that sign, whose training adds one.

The bytes of the round (each of two sites fetches 100 MB and sends 100 MB) are moved by bare sockets with TLS, with SHA-256 at both
ends and with an Ed25519 signature of each update, and by bare sockets without any of it, in as many processes on the same cores; the
difference is what trust costs, and its share of the wall time of a real round is the row. What each part costs is printed: the
difference that leaving it out alone makes. Certificates cost a handshake for each connection that is made, none for each round.
"""

from collections.abc import Collection
from statistics import median
from typing import Any

from fedapi import names
from fedapi.wire.signing import SigningKey
from tests.bench import bare_tls, embedded, records
from tests.bench.bare_tls import DIGESTS, SIGNATURES, TLS
from tests.bench.bench import Bench
from tests.bench.round_100mb_two_sites_s import PARAMETERS, ROUNDS, SITES
from tests.bench.rows import Row

ALL = (TLS, DIGESTS, SIGNATURES)


def measure(bench: Bench) -> Row:
    """The row."""
    secure, plain = _moved_s(bench, ALL), _moved_s(bench, ())
    documents = _signing(embedded.manifests("addone:task", SITES, ROUNDS, parameters=PARAMETERS))
    store = embedded.run(bench.folder("trust"), documents)
    if not all(each.signed for commit in records.commits(store)[1:] for each in commit.participants):
        raise RuntimeError("the sites have not signed what they sent")
    round_s = median(each.wall_s for each in records.rounds(store))
    parts = {part: secure - _moved_s(bench, [each for each in ALL if each != part]) for part in ALL}
    secure, plain = (secure + _moved_s(bench, ALL)) / 2, (plain + _moved_s(bench, ())) / 2
    told = ", ".join(f"{part} {seconds:.3f} s" for part, seconds in parts.items())
    print(f"   bytes with all of it {secure:.2f} s ({told}), without {plain:.2f} s; a round {round_s:.2f} s")
    return Row("trust_cost_ratio", max(0.0, secure - plain) / round_s, "ratio")


def _moved_s(bench: Bench, parts: Collection[str]) -> float:
    return bare_tls.median_s(bench.folder("bare-trust"), sites=SITES, size=4 * PARAMETERS, repeats=5, parts=parts)


def _signing(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with a key for each site, and the Secret that the site has it from."""
    made = list[dict[str, Any]]()
    for document in documents:
        made.append(document)
        if document["kind"] == names.CLIENT_KIND:
            key = SigningKey.generated()
            document["spec"]["identity"] = {"keys": [{"publicKey": key.public_key}]}
            made.append(_secret(document["metadata"]["name"], key))
    return made


def _secret(site: str, key: SigningKey) -> dict[str, Any]:
    metadata = {"name": f"{names.SITE_KEY_SECRET_PREFIX}{site}"}
    return {
        "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {names.FILE_SIGNING_KEY: key.pem().decode()}
    }  # fmt: skip
