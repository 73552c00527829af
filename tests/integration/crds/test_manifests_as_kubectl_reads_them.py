"""The embedded runner and kubectl with a real API server say the same of a manifest: the same verdict, the same values."""

import json

import pytest

from fedlocal.errors import BadInputError
from fedlocal.manifests import load
from tests.cluster.errors import ClusterError

JOB = """\
apiVersion: fedloom.dev/v1alpha1
kind: FederatedJob
metadata:
  name: lab
  {meta}
spec:
  task: {{entrypoint: "lab:task", image: none, args: {args}}}
  rounds: {rounds}
  training: {{optimizer: {{learningRate: {rate}}}}}
"""
SITE = """\
apiVersion: fedloom.dev/v1alpha1
kind: FLClient
metadata:
  name: {name}
  {meta}
spec:
  provider: AWS
  paused: {paused}
  data: {{env: [{{name: A, value: {value}}}]}}
"""
MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"


def job(*, meta="labels: {a: b}", args="{}", rounds="3", rate="'0.1'"):
    return JOB.format(meta=meta, args=args, rounds=rounds, rate=rate)


def site(*, name="north", meta="labels: {a: b}", paused="false", value="'1'"):
    return SITE.format(name=name, meta=meta, paused=paused, value=value)


TEXTS = [
    *(job(rate=rate) for rate in ("1e-3", "'1e-3'", "0.1", "1", ".5", "1_0.5", "y", "1e400", "0x1p4", "~", "!!str 0.1")),
    *(job(rounds=rounds) for rounds in ("3.0", "1e1", "0o17", "017", "08", "0x10", "1_0", "0b11", "'3'", "3.5", "y", ".inf", "22:30")),
    *(job(args=args) for args in ("{a: 0o17}", "{a: y}", "{a: 1.5}", "{a: 2.0}", "{a: 22:30}", "{1: x}", "{y: x}", "{a: 2026-01-05}", "{a: 1e3}", "{a: null}")),
    *(job(meta=f"annotations: {{a: {value}}}") for value in ("2026-01-05", "22:30", "0o17", "y", "1e-3", "'y'", "2026-01-05T10:00:00Z", "1.10", "", "null", "[b]")),
    *(job(meta=f"labels: {{a: {value}}}") for value in ("y", "on", "1", "2026-01-05", "'a b'", "1e3", "''")),
    *(job(meta=meta) for meta in ("labels: {y: b}", "labels: {1: b}", "labels: {-a: b}", "annotations: {a/b/c: d}", "lables: {a: b}", "labels: [a]", "annotations: {_A: b}")),
    *(site(name=name) for name in ("n", "y", "1", "1e3", "'1'", "off", "2026-01-05", "0x1f", "a_b", "1.5")),
    *(site(paused=paused) for paused in ("y", "on", "No", "1", "'true'", "TRUE", "tRUE")),
    *(site(value=value) for value in ("1", "22:30", "0o17", "y", "2026-01-05", "'0o17'", "!!binary aGVsbG8=", "|\n   x", "null")),
    job() + "extra: 1\n",
    job().replace("rounds: 3", "rounds: 3\n  rounds: 4"),
    MAP + "data: {a: 1}\n", MAP + "data: {a: y}\n", MAP + "data: {a: '1', 0o17: b}\n", MAP + "data: {a: 22:30}\n", MAP + "data: {a: null}\n",
    MAP + "binaryData: {a: aGVsbG8=}\n", MAP + "binaryData: {a: '?'}\n", MAP + "data: {a: b}\nbinaryData: {a: YQ==}\n", MAP + "date: {}\n", MAP + "data: {..a: b}\n",
]  # fmt: skip


def ours(folder):
    try:
        found = load(folder)
    except BadInputError as error:
        return None, str(error)
    (body,) = [document.body for document in (*found.jobs, *found.clients)] or list(found.config_maps.values())
    return content(body), ""


def kubectls(cluster, path):
    try:
        return content(json.loads(cluster.kubectl("create", "--dry-run=server", "-o", "json", "-f", str(path)))), ""
    except ClusterError as error:
        return None, str(error)


def content(body):
    metadata = {name: body["metadata"].get(name) or {} for name in ("name", "labels", "annotations")}
    maps = {
        name: {key: value or "" for key, value in body[name].items()}
        for name in ("data", "binaryData")
        if body.get(name)
    }
    return metadata | maps | {name: body[name] for name in ("spec",) if body.get(name)}


@pytest.mark.timeout(600)
def test_the_same_verdict_and_the_same_values(api, tmp_path):
    differences = []
    for number, text in enumerate(TEXTS):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "manifest.yaml").write_text(text)
        (mine, said), (theirs, refused) = ours(folder), kubectls(api.cluster, folder / "manifest.yaml")
        if mine != theirs:
            differences.append((text, said or mine, refused or theirs))
    assert not differences, "\n".join(map(repr, differences))
