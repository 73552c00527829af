"""A mounted ConfigMap is what a kubelet makes of it: links to `..data`, replaced at once; its content as the API server takes it."""

import base64

import pytest

from fedlocal import configmaps, mounts
from fedlocal.errors import BadInputError
from fedlocal.manifests import load
from fedlocal.statefolder import StateFolder

BINARY = bytes(range(256))


def body(**fields):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, **fields}


def walked(folder):
    """As a kubelet lays it out: (path of each file below the folder, whether it is a link), without the time's folder."""
    found = {}
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        if path.is_file():
            found["/".join("..time" if part.startswith("..2") else part for part in inside.parts)] = path.is_symlink()
    return found


def test_text_and_binary_data_are_mounted_as_a_kubelet_does(tmp_path):
    encoded = base64.encodebytes(BINARY).decode()
    files = configmaps.content(body(data={"a.csv": "1,2\n"}, binaryData={"b.bin": encoded}))
    configmaps.put(tmp_path, files)
    assert walked(tmp_path) == {"a.csv": True, "b.bin": True, "..time/a.csv": False, "..time/b.bin": False}
    assert (tmp_path / "b.bin").read_bytes() == BINARY
    assert str((tmp_path / "a.csv").readlink()) == "..data/a.csv"
    assert str((tmp_path / "..data").readlink()).startswith("..20")


def test_only_what_differs_is_written_and_what_is_gone_goes(tmp_path):
    (tmp_path / "left.csv").write_text("a file where a link is to be")
    configmaps.put(tmp_path, {"a": b"1", "b": b"2", "left.csv": b""})
    first = str((tmp_path / "..data").readlink())
    configmaps.put(tmp_path, {"a": b"1", "b": b"2", "left.csv": b""})
    assert str((tmp_path / "..data").readlink()) == first
    configmaps.put(tmp_path, {"a": b"3"})
    assert {path.name for path in tmp_path.iterdir()} == {"a", "..data", str((tmp_path / "..data").readlink())}
    assert (tmp_path / "a").read_bytes() == b"3"


def test_a_folder_that_stands_for_a_config_map_looks_like_one(tmp_path):
    source = tmp_path / "here/volumes/c"
    source.mkdir(parents=True)
    (source / "rows.csv").write_text("1")
    places = mounts.Places(StateFolder(tmp_path / "state"), tmp_path / "here")
    volume = {"name": "rows", "configMap": {"name": "c"}}
    container = {"volumeMounts": [{"name": "rows", "mountPath": "/data/rows"}]}
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [container], "volumes": [volume]}}
    mounted = mounts.prepare(pod, places) / "data/rows"
    assert set(walked(mounted)) == {"rows.csv", "..time/rows.csv"}
    assert not mounted.is_symlink()  # a walk of /data comes to it
    assert (mounted / "rows.csv").read_text() == "1"
    assert mounts.prepare(pod, places) / "data/rows" == mounted  # again, for a pod that starts again


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"data": {"a": 1}}, "ConfigMap/c: data.a: is 1, but must be a string: put it in quotes"),
        ({"data": {"a/b": ""}}, "data.a/b: is no file name"),
        ({"data": {"..a": ""}}, "data...a: is no file name"),
        ({"data": {"a": ""}, "binaryData": {"a": ""}}, "binaryData.a: is in data too"),
        ({"binaryData": {"a": "?"}}, "binaryData.a: is not base64"),
        ({"data": {"a": "x" * (1 << 20), "b": "y"}}, "data: is longer than 1048576 bytes"),
        ({"date": {}}, "date: unknown field"),
        ({"metadata": {}}, "metadata.name: is missing"),
        ({"metadata": {"name": "c", "annotations": {"a": 1}}}, "metadata.annotations.a: is 1, but must be a string"),
    ],
)
def test_content_that_the_api_server_refuses(tmp_path, fields, said):
    import json

    (tmp_path / "all.json").write_text(json.dumps(body(**fields)))
    with pytest.raises(BadInputError) as refused:
        load(tmp_path)
    assert said in str(refused.value)
