"""What a user is told: before anything is trained where it cannot work, in words that are safe, once and for all jobs."""

import json
import signal

import pytest

from tests.commands import fedloom
from tests.integration.fedlocal.runs import SITES, Lab, document, finish, job, site, until

EVIL = "\x1b]0;owned\x07no rows\x1b[2J\nlab: phase Complete\u202e"


def run(lab, *arguments):
    done = lab.fedloom("run", *arguments, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def lab(tmp_path):
    made = Lab.of(tmp_path / "here", job(), *SITES)
    yield made
    made.close()


@pytest.mark.parametrize("result", ["a-file/result.json", "a-folder"])
def test_a_result_that_cannot_be_written_is_refused_before_anything_starts(lab, tmp_path, result):
    (tmp_path / "a-file").write_text("")
    (tmp_path / "a-folder").mkdir()
    code, output = run(lab, str(lab.folder), "--result", str(tmp_path / result))
    assert (code, f"--result: {tmp_path / result} cannot be written" in output) == (2, True), output
    assert "Traceback" not in output
    assert not lab.state.exists()


@pytest.mark.parametrize("workdir", ["a-file", "a-file/state", "/sys/fedloom"])
def test_a_state_folder_that_cannot_be_written_is_refused_before_anything_starts(lab, tmp_path, workdir):
    (tmp_path / "a-file").write_text("")
    done = fedloom("run", lab.folder, "--workdir", tmp_path / workdir, check=False)
    assert (done.returncode, "cannot be written" in done.stderr) == (2, True), done.stderr
    assert "--workdir" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize("quorum", [3, 4])
def test_a_quorum_above_the_sites_is_refused_before_anything_starts(tmp_path, quorum):
    lab = Lab.of(tmp_path, job(round={"quorum": quorum}), *SITES)
    code, output = lab.run()
    assert code == 2, output
    assert f"spec.round.quorum: is {quorum}, but 2 selected sites can take part: lower it" in output


def test_a_run_that_memory_will_not_do_for_is_refused_before_anything_starts(tmp_path):
    lab = Lab.of(tmp_path, job(), site("north"), site("south", {"workers": 256, "slotsPerWorker": 8}))
    code, output = lab.run()
    assert code == 2, output
    assert "spec.clients: 2 sites need at least" in output
    assert "MiB are free: select fewer sites" in output
    assert not (lab.state / "logs").exists()


SHADOWS = ("signal", "types", "json", "asyncio", "torch", "numpy", "uvicorn", "fedtrainer", "fedapi", "sitecustomize")


def test_files_named_like_modules_stand_in_for_nothing(done, tmp_path):
    lab = Lab.of(tmp_path, job(), *SITES)
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported instead')")
    code, output = lab.run()
    assert code == 0, output
    assert lab.digest() == done[0].digest()
    assert f"note: {tmp_path}/signal.py: a task cannot import it, Python's own module signal comes before it" in output
    assert not [log for log in (lab.state / "logs").iterdir() if "imported instead" in log.read_text()]


@pytest.mark.parametrize("name", ["types", "torch", "yaml"])
def test_a_task_whose_name_is_taken_is_refused_by_name(tmp_path, name):
    lab = Lab.of(tmp_path, job(task={"entrypoint": f"{name}:task", "image": "none"}), *SITES)
    (tmp_path / "lab.py").rename(tmp_path / f"{name}.py")
    code, output = lab.run()
    assert code == 2, output
    assert f"spec.task.entrypoint: is '{name}:task', but" in output
    assert f"{tmp_path}/{name}.py: rename your module" in output


def test_words_of_a_site_are_shown_as_text_and_a_site_called_aggregator_has_its_own_log(tmp_path):
    lab = Lab.of(tmp_path, job(rounds=1), site("north"), site("aggregator", LAB_MODE="nodata", LAB_WORDS=EVIL))
    code, output = lab.run()
    assert code == 0, output
    assert "no rows" in output
    assert not set(output) & {"\x1b", "\x07", "\u202e"}
    assert not [line for line in output.splitlines() if line.startswith("lab: phase Complete")]
    logs = {path.name: path.read_text() for path in (lab.state / "logs").iterdir()}
    assert "fedtrainer" in logs["aggregator_site.log"]
    assert "fedtrainer" not in logs["aggregator.log"]


ROWS = {"volumes": [{"name": "rows", "configMap": {"name": "rows"}}], "env": [{"name": "LAB_WALK", "value": "1"}]}
MAP = {
    "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rows"},
    "data": {"a.csv": "1"}, "binaryData": {"b.bin": "AP8="},
}  # fmt: skip


@pytest.mark.parametrize("by", ["manifest", "folder"])
def test_a_config_map_is_mounted_as_on_a_cluster(tmp_path, by):
    maps = [MAP] if by == "manifest" else []
    lab = Lab.of(tmp_path, job(rounds=1), document("FLClient", "north", provider="AWS", data=ROWS), *maps)
    if by == "folder":
        (tmp_path / "volumes/rows").mkdir(parents=True)
        (tmp_path / "volumes/rows/a.csv").write_text("1")
        (tmp_path / "volumes/rows/b.bin").write_bytes(b"\x00\xff")
    code, output = lab.run()
    assert code == 0, output
    walked = json.loads((tmp_path / "walked.json").read_text())
    assert walked == [["a.csv", "31"], ["a.csv", "31"], ["b.bin", "00ff"], ["b.bin", "00ff"]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_all_jobs_of_a_folder(tmp_path, number):
    other = job() | {"metadata": {"name": "other"}}
    lab = Lab.of(tmp_path, job(), other, site("north", LAB_HOLD="1"))
    process = lab.begin()
    try:
        until((tmp_path / "marks/north-1").exists)
        process.send_signal(number)
        code, output = finish(process)
    finally:
        lab.close()
    assert (code, "lab stopped after 0/3 rounds" in output) == (130, True), output
    assert not (tmp_path / "state/other").exists()
