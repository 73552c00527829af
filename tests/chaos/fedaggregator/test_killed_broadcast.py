"""kill -9, and rot, around the model that sites fetch encoded: the same models as undisturbed, and none of it is left."""

from pathlib import Path

import numpy as np
import pytest

from fedapi.wire.compression import Encoding
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, run_sites
from tests.waiting import PATIENCE_S

DIE_AT = str(Path(__file__).with_name("die_at.py"))
CLIENTS = ("a", "b")
FLOAT16 = Encoding(codec="Float16")  # which numpy reads as what it decodes to
MODEL = {"w": np.linspace(-1, 1, 1600, dtype=np.float32).reshape(40, 40), "b": np.arange(3, dtype=np.float32)}
POINTS = [
    ("before it is there", "fedstore.disk:DiskStore.link", "before", 2, "broadcast"),
    ("as soon as it is there", "fedstore.disk:DiskStore.link", "after", 2, "broadcast"),
    ("once it is made, before its plan", "fedaggregator.engine.interpreter:Interpreter.encode", "after", 2),
    ("after its plan", "fedaggregator.engine.interpreter:Interpreter.write_plan", "after", 2),
    ("in mid-fold", "fedcore.strategies.folding:folded", "after", 2),
    ("after HEAD", "fedaggregator.engine.interpreter:Interpreter.move_head", "after", 3),
]


def trained(base, client, order):
    """Depends on every bit of what came."""
    assert order.encoded.encoding == FLOAT16
    assert (base["w"].dtype, base["b"].dtype) == (np.float16, np.float32)
    factor = np.float32(0.25 if client == "a" else -0.125)
    return {name: value.astype(np.float32) * factor for name, value in base.items()}


def made(folder, download=FLOAT16) -> JobFolder:
    return JobFolder(folder, config(CLIENTS, download=download), model=MODEL)


def models(job):
    return [commit.model.sha256 for commit in job.commits()]


def on_their_way(job):
    return sorted((job.root / "store").glob("models/**/*.broadcast.safetensors"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    job = made(tmp_path_factory.mktemp("undisturbed"))
    with Aggregator(job).ready():
        run_sites(job, train=trained)
    found = models(job)
    assert len(set(found)) == 4
    assert job.final_model()["w"].dtype == np.float32
    return found


def finish(job, threads, sites):
    for thread, site in zip(threads, sites, strict=True):
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        assert site.error is None


def goes_on_after_a_kill(job, sites, call, undisturbed):
    with Aggregator(job, DIE_AT, *call) as dying:
        threads = [site.start() for site in sites]
        assert dying.wait() == 137, dying.log()
    with Aggregator(job).ready():
        finish(job, threads, sites)
    assert models(job) == undisturbed
    with Aggregator(job).ready():
        pass
    assert on_their_way(job) == []


@pytest.mark.parametrize("call", [[*map(str, p[1:])] for p in POINTS], ids=[p[0] for p in POINTS])
def test_killed_at(tmp_path, undisturbed, call):
    job = made(tmp_path)
    sites = [Site(job, client, samples=10 + 5 * i, train=trained) for i, client in enumerate(CLIENTS)]
    goes_on_after_a_kill(job, sites, call, undisturbed)


def changed(path):
    data = path.read_bytes()
    path.chmod(0o640)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize("rot", [changed, Path.unlink], ids=["changed", "gone"])
@pytest.mark.parametrize("down", [True, False], ids=["while down", "while up"])
def test_what_is_damaged_of_it_is_made_again(tmp_path, undisturbed, rot, down):
    job = made(tmp_path)
    sites = [Site(job, client, samples=10 + 5 * i, train=trained) for i, client in enumerate(CLIENTS)]
    with Aggregator(job).ready():
        sites[1].next(0.0)
        order = sites[0].next().train
        (path,) = on_their_way(job)
        whole = path.read_bytes()
        if not down:
            rot(path)
            sites[0].fail(order, "UpdateRefused", "WrongDigest: the model's bytes have another SHA-256")
            assert path.read_bytes() == whole
    if down:
        rot(path)
        with Aggregator(job).ready():
            assert path.read_bytes() == whole
    with Aggregator(job).ready():
        finish(job, [site.start() for site in sites], sites)
    assert models(job) == undisturbed
