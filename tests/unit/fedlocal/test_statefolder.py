"""The state folder: lock, identity that stays, fields that cannot change."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from fedapi import names
from fedcli.commands import app
from fedlocal import intake, records, statefolder
from fedlocal.cluster import Cluster
from fedlocal.errors import BadInputError, StateBrokenError, StateBusyError
from fedlocal.intake import Request
from fedlocal.manifests import load
from fedlocal.preflight import STALL_S, Stall
from fedlocal.statefolder import StateFolder
from fedoperator.decide.decision import Key
from tests.unit.fedlocal.test_manifests import JOB, SITE, changed


def request(tmp_path, body):
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all([body, SITE]))
    manifests = load(tmp_path)
    return Request(manifests, manifests.jobs[0], tmp_path / "work")


def test_the_job_keeps_its_uid_and_a_changed_spec_is_a_new_generation(tmp_path):
    first = intake.stored(request(tmp_path, JOB))
    statefolder.write_json(request(tmp_path, JOB).state.record, first)
    again = intake.stored(request(tmp_path, JOB))
    assert again["metadata"] == first["metadata"]
    newer = intake.stored(request(tmp_path, changed(JOB, "spec.rounds", 5)))
    assert (newer["metadata"]["uid"], newer["metadata"]["generation"]) == (first["metadata"]["uid"], 2)


@pytest.mark.parametrize(
    ("path", "value"), [("spec.seed", 9), ("spec.task.image", "other"), ("spec.storage.volume.size", "2Gi")]
)
def test_what_cannot_change_on_a_cluster_cannot_change_here(tmp_path, path, value):
    before = request(tmp_path, JOB)
    statefolder.write_json(before.state.record, intake.stored(before))
    with pytest.raises(BadInputError, match=r"cannot change after creation.*run with --fresh"):
        intake.stored(request(tmp_path, changed(JOB, path, value)))


def test_a_rollback_of_a_run_that_has_ended_is_refused_with_the_way_out(tmp_path):
    """Once: what was decided while the run went on stays in the manifest and refuses nothing."""
    back = changed(JOB, "spec.rollbackTo", {"round": 2, "id": "bad data"})
    asked = request(tmp_path, back)
    before = intake.stored(request(tmp_path, JOB))
    ended = before | {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    statefolder.write_json(asked.state.record, ended)
    with pytest.raises(BadInputError) as told:
        intake.stored(asked)
    assert "spec.rollbackTo: the job has ended, and only one that trains goes back: remove rollbackTo" in str(
        told.value
    )
    assert f"`fedloom model pull {asked.name} --workdir {asked.workdir} --round 2 -o FILE`" in str(told.value)
    for going in (before, before | {"status": ended["status"] | {"rollback": {"round": 2, "id": "bad data"}}}):
        statefolder.write_json(asked.state.record, going)
        assert intake.stored(asked)["spec"]["rollbackTo"]["round"] == 2
    statefolder.write_json(asked.state.record, ended)
    assert intake.stored(request(tmp_path, JOB))["status"] == ended["status"]


def test_a_broken_record_and_a_second_run_are_named(tmp_path):
    state = request(tmp_path, JOB).state
    state.keys.mkdir(parents=True)
    with (
        statefolder.locked(state.root),
        pytest.raises(StateBusyError, match="in use by another run"),
        statefolder.locked(state.root),
    ):
        pass
    state.record.write_text("{")
    with pytest.raises(StateBrokenError, match="--fresh"):
        intake.stored(request(tmp_path, JOB))
    state.record.write_text("{}")
    with pytest.raises(StateBrokenError, match="lacks 'metadata'"):
        intake.stored(request(tmp_path, JOB))


@pytest.mark.parametrize(
    ("conditions", "suspend", "ended"),
    [
        ({}, False, None),
        ({"Complete": "False", "Failed": "False"}, False, None),
        ({"Complete": "True"}, False, "Complete"),
        ({"Failed": "True", "Suspended": "False"}, True, "Failed"),
        ({"Suspended": "True"}, True, "Suspended"),
        ({"Suspended": "True"}, False, None),
    ],
)
def test_how_a_job_has_ended(conditions, suspend, ended):
    listed = [{"type": type_, "status": status} for type_, status in conditions.items()]
    assert intake.ended({"spec": {"suspend": suspend}, "status": {"conditions": listed}}) == ended


def test_a_folder_that_holds_something_else_is_never_used_nor_removed(tmp_path):
    other = tmp_path / "work" / "hearts"
    other.mkdir(parents=True)
    (other / "thesis.txt").write_text("years of work")
    with pytest.raises(BadInputError, match="holds something else"), statefolder.locked(other):
        pass
    assert (other / "thesis.txt").exists()


def test_a_job_that_stands_still_is_given_up_only_after_a_while():
    cluster, key, stall = Cluster("n", lambda: None, lambda: None), Key("FederatedJob", "a"), Stall()

    def look(status, now_s):
        condition = {"type": "Progressing", "status": status, "reason": "TooFewSites", "message": "1 of 2"}
        cluster.objects[key] = {"status": {"conditions": [condition]}}
        return stall.reason(cluster, key, now_s)

    assert look("False", 0.0) is None
    assert look("True", 1.0) is None
    assert stall.due_s(1.0) is None
    assert look("False", 2.0) is None
    assert look("False", 2.0 + STALL_S - 0.1) is None
    assert look("False", 2.0 + STALL_S) == "TooFewSites: 1 of 2"


def test_a_damaged_status_of_the_aggregator_is_written_anew_and_models_are_named_before_fresh(tmp_path):
    state = request(tmp_path, JOB).state
    state.root.mkdir(parents=True)
    for content in ('{"round": {"curr', "", "[]", "\0" * 40):
        state.aggregator_status.write_text(content)
        assert state.read_aggregator_status() is None
        state.record.write_text(content)
        with pytest.raises(StateBrokenError, match=r"job.json is not JSON.*take the models.*claims.*--fresh"):
            intake.stored(request(tmp_path, JOB))


def test_a_store_without_head_is_damaged_and_repaired(tmp_path):
    """The store that version 0.1 left in mid-round, as a local run has it."""
    root = tmp_path / "work" / "job"
    claim = root / "claims" / "job-store-1"
    shutil.copytree(Path(__file__).parents[2] / "golden" / "fedaggregator" / "store-0.1", claim)
    statefolder.write_json(root / "job.json", {"metadata": {"namespace": "ns", "name": "job", "uid": "uid-1"}})
    (root / "keys").mkdir()
    command = ["store", "repair", "--workdir", str(tmp_path / "work")]
    whole = CliRunner().invoke(app, command)
    assert (whole.exit_code, whole.stdout) == (0, "the store is whole: nothing was changed\n")
    (claim / "control/ns/job-uid-1/HEAD.json").unlink()
    with pytest.raises(StateBrokenError, match=r"HEAD.json is missing.*fedloom store repair"):
        records.rounds(records.state_of(tmp_path / "work", "job"))
    done = CliRunner().invoke(app, [*command, "job"])
    assert done.exit_code == 0, done.output
    assert "HEAD was set to round 1" in done.stdout
    assert [time.round for time in records.rounds(records.state_of(tmp_path / "work", "job"))] == [1]
    target = tmp_path / "m.safetensors"
    listed = CliRunner().invoke(app, ["model", "list", "job", "--workdir", str(tmp_path / "work")])
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["ROUND", "0", "1"]
    for round_, words in (("0", "SHA-256"), ("1", "SHA-256"), ("2", "choose one of 0 to 1")):
        command_ = ["model", "pull", "job", "--workdir", str(tmp_path / "work"), "--round", round_, "-o", str(target)]
        pulled = CliRunner().invoke(app, command_)
        assert words in (pulled.stdout or str(pulled.exception))
        assert (round_ in "01") == (hashlib.sha256(target.read_bytes()).hexdigest() in pulled.stdout)
    (claim / "control/ns/job-uid-1/HEAD.json").write_text(json.dumps({"epoch": "\x1b[2J", "round": -1}))
    told = CliRunner().invoke(app, command).stdout
    assert "HEAD.json: it is no Head of this version: epoch" in told
    assert "\x1b" not in told  # words of a damaged store do not drive the terminal
    assert isinstance(CliRunner().invoke(app, ["store", "repair"]).exception, BadInputError)


def test_a_run_that_is_refused_forgets_nothing_although_it_was_to_begin_anew(tmp_path):
    """Refused for what only a look at the sites tells: their data is not there."""
    data = {"volumes": [{"name": "rows", "persistentVolumeClaim": {"claimName": "rows"}}]}
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all([JOB, changed(SITE, "spec.data", data)]))
    root = tmp_path / "work" / JOB["metadata"]["name"]
    (root / "keys").mkdir(parents=True)
    (root / "claims").mkdir()
    (root / "claims" / "model").write_text("what an hour of training made")
    command = ["run", str(tmp_path), "--workdir", str(tmp_path / "work"), "--fresh"]
    refused = CliRunner().invoke(app, command)
    assert isinstance(refused.exception, BadInputError)
    assert "is not there" in str(refused.exception)
    assert (root / "claims" / "model").read_text() == "what an hour of training made"
    assert not [path for path in (tmp_path / "work").iterdir() if path.name.endswith((".aside", ".removed"))]


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_run_that_begins_anew_and_is_killed_before_it_starts_leaves_the_one_before(tmp_path, forgotten):
    root, killed = tmp_path / "work" / "job", tmp_path / "killed"
    (root / "keys").mkdir(parents=True)
    (root / "model").write_text("old")
    backups = StateFolder(root).claim(names.backup_claim_name("job", "uid-before"))
    backups.mkdir(parents=True)
    (backups / "manifest").write_text("what is there for when all else is lost")
    with statefolder.begun_anew(root) as forget:
        assert not [*root.iterdir()]
        (root / "keys.new").mkdir()
        if forgotten:
            forget()
        shutil.copytree(root.parent, killed)  # as kill -9 leaves it
    with statefolder.locked(killed / "job"):
        for left in (root, killed / "job"):
            assert (left / "model").exists() != forgotten
            assert (left / "keys.new").exists() == forgotten
            assert (left / backups.relative_to(root) / "manifest").exists()
