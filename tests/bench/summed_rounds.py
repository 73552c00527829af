"""Rounds of the embedded runner whose sites have keys, with and without a sum of which the hub sees no single update. Used by secagg_round_ratio and he_round_ratio."""

import base64
from statistics import median
from typing import Any

from fedapi import names
from fedapi.wire.signing import SigningKey
from tests.bench import embedded, records
from tests.bench.bench import Bench

SITES, ROUNDS = 10, 4
Documents = list[dict[str, Any]]


def documents(parameters: int) -> Documents:
    """A job and its sites, each with a key that is the same in every run of them."""
    plain = embedded.manifests("addone:task", SITES, ROUNDS, parameters=parameters)
    return [part for each in plain for part in _keyed(each)]


def round_s(bench: Bench, name: str, found: Documents, privacy: dict[str, Any] | None = None) -> float:
    """Wall time from commit to commit, median after the first round. `privacy`: that of the job."""
    asked = [_asking(each, privacy) if privacy else each for each in found]
    return median(each.wall_s for each in records.rounds(embedded.run(bench.folder(name), asked)))


def _keyed(document: dict[str, Any]) -> Documents:
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


def _asking(document: dict[str, Any], privacy: dict[str, Any]) -> dict[str, Any]:
    if document["kind"] != names.JOB_KIND:
        return document
    return document | {"spec": document["spec"] | {"privacy": privacy}}
