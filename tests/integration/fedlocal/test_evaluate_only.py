"""A local run of a job of no rounds: from the manifest to the records, and what it says."""

import json

import pytest

from tests.integration.fedlocal.runs import SITES, Lab, job, site


def history(lab):
    return json.loads(lab.fedloom("history", "lab", "--output", "json").stdout)


@pytest.mark.parametrize("lifetime", ["Job", "Round"])
def test_sites_evaluate_the_first_model_and_none_trains(tmp_path, done, lifetime):
    training = {"optimizer": {"learningRate": "0.1"}, "lifetime": lifetime}
    lab = Lab.of(tmp_path, job(rounds=0, training=training), *SITES)
    code, output = lab.run()
    assert code == 0, output
    assert "lab is complete: evaluation in " in output
    assert "no update of theirs" not in output
    (row,) = history(lab)
    losses = [metrics["loss"] for metrics in row["evaluation"]["sites"].values()]
    assert (row["evaluation"]["site_samples"], len(set(losses))) == ({"north": 16, "south": 16}, 2)
    assert row["evaluation"]["metrics"] == {"loss": pytest.approx(sum(losses) / 2)}
    assert f"{lab.result()['metrics']['loss']:.4g}" == f"{row['evaluation']['metrics']['loss']:.4g}"
    assert lab.digest() == row["model_sha256"] == history(done[0])[0]["model_sha256"]
    assert not (tmp_path / "marks").exists(), "none has trained"
    code, output = lab.run()
    assert (code, "lab was complete already (evaluation)" in output) == (0, True)


def test_a_site_without_its_data_is_named_and_the_job_has_failed(tmp_path):
    lab = Lab.of(tmp_path, job(rounds=0), SITES[0], site("south", LAB_MODE="nodata"))
    code, output = lab.run()
    assert code == 1, output
    assert "1 of 2 sites have evaluated the model, 2 were needed (south: " in output
    assert history(lab)[0]["evaluation"]["sites"].keys() == {"north"}
