"""What a real API server answers to writes to objects that are gone, or others by now: the cache forgets those."""

import pytest

from fedoperator.cluster.cache import Cache
from fedoperator.cluster.writes import Writer
from fedoperator.errors import RetryLaterError

pytestmark = pytest.mark.apiserver

WRITES = {
    "apply": lambda writer, live, manifest: writer.apply(manifest, live),
    "merge": lambda writer, live, _: writer.merge(live, {"data": {"a": "1"}}),
}


def config_map(namespace, name):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": {}}


@pytest.mark.parametrize("replaced", [False, True], ids=["gone", "replaced"])
def test_an_object_that_is_not_there_any_more_is_forgotten(api, namespace, replaced):
    cache = Cache()
    writer = Writer(api.connection, cache, lambda *_: None, "test")

    def seen(name):
        """An object of before, as the cache has it."""
        manifest = config_map(namespace, name)
        api.create(manifest)
        live = writer.read(manifest)
        writer.take(live)
        api.delete("ConfigMap", namespace, name)
        if replaced:
            api.create(manifest)
        return live, manifest

    for name, write in WRITES.items():
        live, manifest = seen(name)
        with pytest.raises(RetryLaterError) as raised:
            write(writer, live, manifest)
        assert raised.value.conflict
        assert cache.get("ConfigMap", namespace, name) is None, str(raised.value)
    live, manifest = seen("delete")
    writer.delete(live)
    assert cache.get("ConfigMap", namespace, "delete") is None
    assert bool(api.get("ConfigMap", namespace, "delete", missing_ok=True)) is replaced
