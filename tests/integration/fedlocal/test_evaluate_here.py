"""`fedloom evaluate --workdir`: a committed round of a local run that has ended, at chosen sites, in real processes."""

import json
import shutil

import pytest

from tests.integration.fedlocal.runs import SITES, Lab, job, site
from tests.integration.fedlocal.test_evaluate_only import history
from tests.integration.fedlocal.test_exchange import MIXED, NORMS, TASK, TRAINING
from tests.integration.fedlocal.test_exchange import SITES as KEPT
from tests.integration.fedlocal.test_held_out import labelled


def evaluate(lab, *options):
    return lab.fedloom("evaluate", "lab", "--manifests", lab.folder, *options, check=False)


@pytest.fixture
def ended(tmp_path, done):
    """A copy of a run of three rounds that has ended."""
    shutil.copytree(done[0].folder, tmp_path / "ended")
    return Lab(tmp_path / "ended")


def left(lab):
    """What is in the folder of states besides the job's own."""
    return sorted(path.name for path in (lab.folder / "state").iterdir() if path.name not in {"lab", ".lab.lock"})


def test_sites_of_an_ended_run_evaluate_a_round_and_it_is_in_the_history(ended):
    marks, before = sorted((ended.folder / "marks").iterdir()), history(ended)
    found = evaluate(ended, "--round", "1", "--sites", "south", "--output", "json")
    assert found.returncode == 0, found.stderr
    said = json.loads(found.stdout)
    assert (said["round"], said["model_sha256"], said["samples"]) == (1, before[1]["model_sha256"], 16)
    assert said["sites"]["south"]["metrics"] == said["metrics"]
    after = history(ended)
    assert after[1]["requested"]["sites"] == {"south": said["metrics"]}
    assert [row | {"requested": None} for row in after] == before, "nothing else has changed"
    assert (sorted((ended.folder / "marks").iterdir()), left(ended)) == (marks, []), "none has trained, and it has gone"


def test_a_site_that_is_new_in_the_folder_is_one_that_never_trained(ended):
    newcomer = labelled("watch", role="validation")
    (ended.folder / "watch.json").write_text(json.dumps(newcomer))
    found = evaluate(ended, "--round", "1", "-l", "role=validation")
    assert found.returncode == 0, found.stderr
    (heads, of_site, of_all, told) = found.stdout.splitlines()
    assert heads.split() == ["SITE", "SAMPLES", "LOSS"]
    assert (of_site.split()[:2], of_all.split()[:3]) == (["watch", "16"], ["all,", "weighted", "16"])
    assert "in the job's history" in told
    row = history(ended)[1]
    assert (row["held_out"]["sites"].keys(), row["requested"]) == ({"watch"}, None)
    code, output = ended.run()
    assert (code, "was complete already (3/3 rounds)" in output) == (0, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--round", "9"], "round 9 is not committed: choose one of 0 to 3"),
        (["--round", "1", "--sites", "south,moon"], "--sites: moon: no FLClient of the job"),
        (["--round", "1", "-l", "role=none"], "is selected (it has north, south)"),
    ],
)
def test_what_cannot_be_evaluated_is_named_and_nothing_is_left(done, options, words):
    found = evaluate(done[0], *options)
    assert (found.returncode, words in found.stderr) == (2, True), found.stderr
    assert left(done[0]) == []


def test_a_site_that_cannot_is_named_and_the_others_are_shown(ended):
    documents = [job(), SITES[0], site("south", LAB_MODE="nodata")]
    lab = Lab.of(ended.folder, *documents)
    found = evaluate(lab, "--round", "2")
    assert found.returncode == 1, found.stderr
    assert "1 of 2 sites have evaluated the model, 2 were needed (south: " in found.stderr
    assert [line.split()[0] for line in found.stdout.splitlines()[1:3]] == ["north", "all,"]
    assert (left(lab), history(lab)[2]["requested"]["sites"].keys()) == ([".evaluations"], {"north"})


@pytest.mark.parametrize(("training", "recorded"), [(TRAINING, True), (NORMS, False)])
def test_of_a_model_of_which_a_part_travels_the_whole_one_is_evaluated(tmp_path, training, recorded):
    lab = Lab.of(tmp_path / "lab", job(task=TASK, rounds=2, training=training), *KEPT)
    (lab.folder / "mixed.py").write_text(MIXED)
    code, output = lab.run()
    assert code == 0, output
    found = evaluate(lab, "--round", "1")
    assert found.returncode == 0, found.stderr
    row = history(lab)[1]
    if recorded:
        assert row["requested"]["sites"] == row["evaluation"]["sites"], (
            "what the same sites found when they were to train on"
        )
    else:
        assert (row["requested"], "not in its history" in found.stdout) == (None, True)
