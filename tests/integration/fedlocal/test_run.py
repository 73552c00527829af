"""`fedloom run` end to end: real manifests, real processes, real training of a few milliseconds."""

import hashlib

import pytest
from safetensors.numpy import load_file

from tests.integration.fedlocal.runs import JOB, SITES, Lab, document, job, site


def test_a_job_completes_with_a_result(done):
    lab, output = done
    result = lab.result()
    assert (result["job"], result["phase"], result["rounds"]) == (JOB, "Complete", 3)
    assert result["clients"] == [{"name": name, "samples": 32, "rounds": 3} for name in ("north", "south")]
    assert result["metrics"]["loss"] < 1
    assert result["seconds"] > 0
    assert "lab is complete: 3/3 rounds" in output


def test_a_finished_job_says_so_and_starts_nothing(done):
    lab, _ = done
    before = lab.result()
    code, output = lab.run()
    assert (code, "complete already" in output) == (0, True)
    assert lab.result()["model"] == before["model"]


@pytest.mark.parametrize("fork", ["1", "0"])
def test_the_same_manifest_gives_the_same_model(done, tmp_path, fork):
    lab = Lab.of(tmp_path, job(), *SITES)
    code, output = lab.run(FEDLOOM_LOCAL_FORK=fork)
    assert code == 0, output
    assert lab.digest() == done[0].digest()


def test_a_job_per_round_gives_the_same_model_from_a_new_process_each_round(done, tmp_path):
    training = {"optimizer": {"learningRate": "0.1"}, "lifetime": "Round"}
    lab = Lab.of(tmp_path, job(training=training), *SITES)
    code, output = lab.run()
    assert code == 0, output
    assert lab.digest() == done[0].digest()
    assert [client["rounds"] for client in lab.result()["clients"]] == [3, 3]
    assert len({(tmp_path / "marks" / f"north-{round_}").read_text() for round_ in (1, 2, 3)}) == 3


def test_the_model_is_pulled_and_a_damaged_one_is_refused(done, tmp_path):
    lab, _ = done
    target = tmp_path / "model.safetensors"
    pulled = lab.fedloom("model", "pull", JOB, "-o", target)
    assert lab.digest() in pulled.stdout
    assert hashlib.sha256(target.read_bytes()).hexdigest() == lab.digest()
    assert set(load_file(target)) == {"weight", "bias"}
    source = next(lab.state.glob("claims/*/models/**/000003-*.safetensors"))
    kept, mode = source.read_bytes(), source.stat().st_mode
    source.chmod(0o644)
    source.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    refused = lab.fedloom("model", "pull", JOB, "-o", target, check=False)
    source.write_bytes(kept)
    source.chmod(mode)
    assert (refused.returncode, "damaged" in refused.stderr) == (1, True)
    assert hashlib.sha256(target.read_bytes()).hexdigest() == lab.digest()


def test_rounds_are_listed_with_their_times(done):
    listed = done[0].fedloom("rounds").stdout
    assert [line.split()[:2] for line in listed.splitlines()[1:4]] == [["1", "2"], ["2", "2"], ["3", "2"]]
    assert "median overhead" in listed


def test_a_site_that_never_comes_is_not_waited_for_beyond_quorum(tmp_path):
    round_ = {"quorum": "50%", "graceAfterQuorum": "500ms", "deadline": "10m"}
    lab = Lab.of(tmp_path, job(round=round_, rounds=2), site("north"), site("south", LAB_MODE="never"))
    code, output = lab.run()
    assert code == 0, output
    assert [client["rounds"] for client in lab.result()["clients"]] == [2, 0]


def test_a_site_without_its_data_is_named_and_the_others_go_on(tmp_path):
    lab = Lab.of(tmp_path, job(rounds=2), site("north"), site("south", LAB_MODE="nodata"))
    code, output = lab.run()
    assert code == 0, output
    assert "no rows in /data/rows: put rows.csv there" in output
    assert "no update of theirs is in the model: south" in output
    assert [client["rounds"] for client in lab.result()["clients"]] == [2, 0]


def test_a_task_that_does_not_import_fails_the_job_and_names_the_entrypoint(tmp_path):
    lab = Lab.of(tmp_path, job(task={"entrypoint": "nowhere:task", "image": "none"}), *SITES)
    code, output = lab.run()
    assert code == 1, output
    assert "lab failed: TaskImportFailed" in output
    assert "nowhere" in output
    assert lab.result()["phase"] == "Failed"
    code, output = lab.run()
    assert (code, "failed before (mend the cause and run with --fresh)" in output) == (1, True)


def test_a_suspended_job_starts_nothing(tmp_path):
    lab = Lab.of(tmp_path, job(suspend=True), *SITES)
    code, output = lab.run()
    assert (code, "spec.suspend is true" in output) == (2, True), output
    assert lab.result()["phase"] == "Suspended"
    assert not (lab.state / "logs").exists()


VOLUME = {"volumes": [{"name": "rows", "persistentVolumeClaim": {"claimName": "north-rows"}}]}
WITH_DATA = document("FLClient", "north", provider="AWS", data=VOLUME)


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ((job(), WITH_DATA), "spec.data.volumes[0].persistentVolumeClaim.claimName: the folder {folder}/volumes/north-rows is not there"),
        ((job(clients={"minAvailable": 2}), site("north")), "spec.clients.minAvailable: is 2, but 1 of 1 selected sites can take part"),
        (
            (job(privacy={"homomorphicEncryption": {"threshold": 4}}, round={"quorum": "60%"}), site("north"), site("south")),
            "0 of 2 sites can take part (north, south: no key in spec.identity.keys), and privacy.homomorphicEncryption.threshold is 4",
        ),
        ((job(clients={"selector": {"matchLabels": {"a": "b"}}}), site("north")), "spec.clients.selector: matches none of the 1 FLClients"),
        ((job(rounds=-1), site("north")), "spec.rounds: is -1"),
        ((site("north"),), "no FederatedJob"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_anything_starts(tmp_path, documents, said):
    lab = Lab.of(tmp_path, *documents)
    code, output = lab.run()
    assert code == 2, output
    assert said.format(folder=tmp_path) in output
    assert not (lab.state / "logs").exists()


def test_missing_data_names_the_script_that_makes_it(tmp_path):
    lab = Lab.of(tmp_path, job(), WITH_DATA)
    (tmp_path / "prepare.py").write_text("")
    assert f"run `python {tmp_path}/prepare.py`" in lab.run()[1]
