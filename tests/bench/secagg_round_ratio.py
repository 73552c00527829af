"""A round whose updates are summed under masks, as a multiple of the plain one: embedded, 10 sites with 25 M values each.

Wall time from commit to commit, median after the first round, of `fedloom run` with and without privacy.secureAggregation; every site has a key
and signs in both. All sites' masks and the hub's sum are made on the same cores, which sites of a federation each have of their own.
"""

import base64
from statistics import median
from typing import Any

from fedapi import names
from fedapi.wire.signing import SigningKey
from tests.bench import embedded, records
from tests.bench.bench import Bench
from tests.bench.rows import Row

SITES, ROUNDS, PARAMETERS = 10, 4, 25_000_000


def measure(bench: Bench) -> Row:
    """The row."""
    documents = [
        part
        for each in embedded.manifests("addone:task", SITES, ROUNDS, parameters=PARAMETERS)
        for part in _keyed(each)
    ]
    plain = _round_s(bench, "plain", documents)
    masked = _round_s(bench, "masked", [_masked(each) for each in documents])
    print(f"   a plain round {plain:.2f} s, a masked one {masked:.2f} s")
    return Row("secagg_round_ratio", masked / plain, "ratio")


def _round_s(bench: Bench, name: str, documents: list[dict[str, Any]]) -> float:
    return median(each.wall_s for each in records.rounds(embedded.run(bench.folder(name), documents)))


def _keyed(document: dict[str, Any]) -> list[dict[str, Any]]:
    """A site with a key, and the Secret that has it."""
    if document["kind"] != names.CLIENT_KIND:
        return [document]
    key, name = SigningKey.generated(), document["metadata"]["name"]
    spec = document["spec"] | {"identity": {"keys": [{"publicKey": key.public_key}]}}
    data = {names.FILE_SIGNING_KEY: base64.b64encode(key.pem()).decode()}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"{names.SITE_KEY_SECRET_PREFIX}{name}"},
        "data": data,
    }
    return [document | {"spec": spec}, secret]


def _masked(document: dict[str, Any]) -> dict[str, Any]:
    if document["kind"] != names.JOB_KIND:
        return document
    return document | {"spec": document["spec"] | {"privacy": {"secureAggregation": {}}}}
