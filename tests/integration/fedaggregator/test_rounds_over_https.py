"""The real process, real TLS, scripted sites: whole jobs, stop and selection, configuration changes, signals."""

import contextlib
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from fedapi.outcome import Exit
from fedapi.wire.job import StopRule
from fedapi.wire.plan import PlanRecord
from fedapi.wire.roster import RosterEntry
from tests.integration.fedaggregator.harness import (
    Aggregator,
    JobFolder,
    Site,
    certificates,
    config,
    https,
    monitored,
    run_sites,
    scripted_update,
    small_model,
)
from tests.waiting import PATIENCE_S, until


def expected_model(job: JobFolder, sites: list[Site]) -> dict[str, np.ndarray]:
    """FedAvg of the scripted updates, computed here in float64."""
    from types import SimpleNamespace

    model = {name: value.astype(np.float64) for name, value in small_model().items()}
    total = sum(site.samples for site in sites)
    for round_ in range(1, job.config.rounds + 1):
        order = SimpleNamespace(seed=job.config.seed, round=round_)
        for site in sites:
            for name, value in scripted_update(small_model(), site.client, order).items():
                model[name] += value * site.samples / total
    return model


def test_a_whole_job(tmp_path):
    job = JobFolder(tmp_path, config(("a", "b", "c")))
    with Aggregator(job).ready() as aggregator:
        sites = run_sites(job)
        until(lambda: "outcome" in job.status())
        metrics = monitored(job, "/metrics").text
    assert aggregator.process.returncode == 0
    status = job.status()
    assert status["outcome"]["result"] == "Succeeded"
    assert status["round"]["progress"] == "3/3"
    assert status["participants"] == "3/3"
    assert status["headlineMetric"] == "accuracy 0.80"
    assert [m["round"] for m in status["metrics"]] == [3, 3]
    commits = job.commits()
    assert [c.round for c in commits] == [0, 1, 2, 3]
    assert status["model"] == {
        "uri": f"volume://claim/{commits[-1].model.key}", "sha256": commits[-1].model.sha256, "round": 3,
    }  # fmt: skip
    for name, value in expected_model(job, sites).items():
        np.testing.assert_allclose(job.final_model()[name], value, rtol=1e-5, atol=1e-5)
    assert all(site.trained == [(1, 1), (2, 1), (3, 1)] for site in sites)
    assert "fedloom_aggregator_round_committed 3.0" in metrics
    models = [p.name for p in (tmp_path / "store" / "models").rglob("*.safetensors")]
    assert sorted(name[:6] for name in models) == ["000000", "000001", "000002", "000003"]
    log = aggregator.log()
    assert "signature" not in log
    assert "Bearer" not in log


def test_two_runs_give_the_same_model_and_another_seed_another(tmp_path):
    digests = []
    for number, seed in enumerate((7, 7, 8)):
        job = JobFolder(tmp_path / str(number), config(rounds=2, seed=seed, uid=f"uid-{number}"))
        with Aggregator(job).ready():
            run_sites(job)
        digests.append(job.commits()[-1].model.sha256)
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_a_recreated_job_starts_from_its_own_beginning(tmp_path):
    first = JobFolder(tmp_path, config(rounds=1))
    with Aggregator(first).ready():
        run_sites(first)
    second = JobFolder(tmp_path, config(rounds=1, uid="another-uid"))
    with Aggregator(second).ready():
        until(lambda: second.status().get("outcome") is None)  # the first job's is still there at first
        assert [c.round for c in second.commits()] == [0]
        run_sites(second)
    assert first.head().round == second.head().round == 1


def test_target_ends_training_early(tmp_path):
    stop = StopRule(metric="accuracy", target=0.6)  # the scripted accuracy of round 1
    job = JobFolder(tmp_path, config(rounds=9, stop=stop))
    with Aggregator(job).ready():
        run_sites(job)
        until(lambda: "outcome" in job.status())
    assert job.status()["outcome"]["reason"] == "TargetReached"
    assert job.head().round == 2


def test_random_selection_follows_the_seed(tmp_path):
    job = JobFolder(tmp_path, config(tuple("abcdef"), policy="Random", per_round=2, min_available=6))
    with Aggregator(job).ready():
        run_sites(job)
    plans = sorted((tmp_path / "store" / job.layout.rounds()).rglob("plan.json"))
    selected = [PlanRecord.model_validate_json(p.read_bytes()).selected for p in plans]
    assert [tuple(p.client for p in c.participants) for c in job.commits()[1:]] == selected
    assert len(set(selected)) > 1


def test_configuration_acts_at_the_next_round(tmp_path):
    job = JobFolder(tmp_path, config(("a", "b"), rounds=5))
    with Aggregator(job).ready():
        a, b = Site(job, "a"), Site(job, "b")
        a.next(0.0)
        b.next(0.0)
        for site in (a, b):
            site.take_part(site.next().train)
        until(lambda: job.head().round == 1)
        order = a.next().train
        job.write_config(
            config(("a", "b"), rounds=2, roster=(RosterEntry(name="a"), RosterEntry(name="b", eligible=False)))
        )
        assert order.round == 2
        until(lambda: job.status()["round"]["total"] == 2, not_yet=(KeyError,))
        assert b.step() == "Train"  # b was selected before it was paused
        a.take_part(order)
        threads = [a.start(), b.start()]
        for thread in threads:
            thread.join(PATIENCE_S)
        until(lambda: "outcome" in job.status())
    assert job.head().round == 2


def test_it_waits_for_the_initial_model_and_for_sites(tmp_path):
    job = JobFolder(tmp_path, config(rounds=1), model=None)
    with Aggregator(job) as aggregator:
        until(lambda: aggregator._probe("/healthz") == 200)
        aggregator.ready()  # for the init step, and for sites to say hello
        a = Site(job, "a")
        assert a.next(0.1).kind == "Wait"
        job.write_initial(save(small_model()))
        job.hand_in()
        assert job.head().round == 0
        assert a.next(0.1).kind == "Wait"  # min_available is 2
        b = Site(job, "b")
        assert b.next().kind == "Train"
        assert a.next().kind == "Train"


def test_silent_sites_cost_a_deadline_and_failures_are_told(tmp_path):
    job = JobFolder(tmp_path, config(("a", "b"), rounds=1, deadline_s=0.4, max_failures=1))
    with Aggregator(job).ready():
        a, b = Site(job, "a"), Site(job, "b")
        a.next(0.0)
        b.next(0.0)
        order = a.next().train
        with contextlib.suppress(httpx.HTTPStatusError):  # on a slow machine the deadlines may be over before
            a.take_part(order) if order else None
        until(lambda: "outcome" in job.status())
        assert a.next().kind == "Done"
    outcome = job.status()["outcome"]
    assert (outcome["result"], outcome["reason"]) == ("Failed", "QuorumNotReached")
    assert "b: no update before the deadline" in outcome["message"]
    assert job.head().finished == "Failed"


def test_a_reported_failure_closes_the_round_with_quorum(tmp_path):
    job = JobFolder(tmp_path, config(("a", "b"), rounds=1, quorum=1))
    with Aggregator(job).ready():
        a, b = Site(job, "a"), Site(job, "b")
        a.next(0.0), b.next(0.0)
        b.fail(b.next().train)
        assert b.next(0.0).kind == "Wait"
        a.take_part(a.next().train)
        until(lambda: job.status()["round"]["committed"] == 1, not_yet=(KeyError,))
        shown = {c["name"]: c for c in job.status()["clients"]}
        assert (shown["b"]["failures"], shown["b"]["message"]) == (1, "TaskFailed: it broke")


def test_long_polls_wake_at_once_and_sigterm_ends_cleanly(tmp_path):
    job = JobFolder(tmp_path, config(("a", "b")))
    with Aggregator(job).ready() as aggregator:
        a = Site(job, "a")
        assert a.next(0.0).kind == "Wait"
        aggregator.process.send_signal(signal.SIGTERM)
        assert aggregator.wait() == 0


def test_only_tls_from_1_2_and_only_the_known_ca(tmp_path):
    job = JobFolder(tmp_path, config())
    with Aggregator(job).ready():
        certificates(tmp_path / "other")
        other = JobFolder(tmp_path, config(), model=None, port=job.port)
        other.root = tmp_path / "strange"
        certificates(other.root / "credentials")
        with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
            https(other).get("/healthz")
        import socket

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(job.root / "credentials" / "ca.crt")
        context.set_ciphers("ALL:@SECLEVEL=0")
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        with (
            pytest.raises((ssl.SSLError, ConnectionError)),
            socket.create_connection(("localhost", job.port)) as sock,
            context.wrap_socket(sock, server_hostname="localhost"),
        ):
            pass


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda job: (job.root / "job.json").write_text("{"), "job.json"),
        (lambda job: (job.root / "credentials" / "job.key").unlink(), "job.key"),
        (lambda job: job.extra_env.update({"FEDLOOM_STATUS": "smoke"}), "FEDLOOM_STATUS"),
        (lambda job: job.extra_env.update({"FEDLOOM_PORT": "x"}), "FEDLOOM_PORT"),
    ],
)
def test_bad_settings_are_named(tmp_path, broken, says):
    job = JobFolder(tmp_path, config())
    broken(job)
    with Aggregator(job) as aggregator:
        assert aggregator.wait() == Exit.BAD_SETTINGS
        assert says in aggregator.log()
    if "PORT" not in says:
        assert says in (tmp_path / "termination.log").read_text()


def test_the_hub_never_loads_torch_or_pickle_of_sites():
    code = "import fedaggregator.__main__, sys; print([m for m in ('torch', 'kubernetes', 'safetensors') if m in sys.modules])"
    root = Path(__file__).parents[3] / "operator"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(root)}
    )
    assert done.stdout.strip() == "[]"


def test_parts_of_a_model(tmp_path):
    """One range with both ends, small or moved by threads, on one connection; all else is answered with the whole."""
    large = {"layer.weight": np.arange(1 << 20, dtype=np.float32)}
    job = JobFolder(tmp_path, config(("a",), rounds=1), model=large)
    with Aggregator(job).ready():
        site = Site(job, "a")
        model = site.next().train.model
        whole = site.download(model)
        for begin, end in ((0, 1), (8, 4096), (1000, 3 << 20), (len(whole) - 7, len(whole)), (0, len(whole))):
            part = site.http.get(model.url, headers={"range": f"bytes={begin}-{end - 1}"})
            assert part.status_code == 206
            assert part.content == whole[begin:end]
            assert part.headers["content-range"] == f"bytes {begin}-{end - 1}/{len(whole)}"
        for asked in ("bytes=5-", f"bytes=0-{len(whole)}", "bytes=1-2,4-5", "lines=0-1"):
            answer = site.http.get(model.url, headers={"range": asked})
            assert (answer.status_code, answer.content == whole) == (200, True)
