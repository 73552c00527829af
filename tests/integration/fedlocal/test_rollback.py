"""A local run that goes back to an earlier round, by its manifest."""

import signal

import yaml

from tests.integration.fedlocal.runs import Lab, finish, job, site

SITES = (site("north"), site("south", LAB_HOLD="3"))


def test_a_stopped_run_goes_back_by_its_manifest_and_says_so(tmp_path):
    lab = Lab.of(tmp_path, job(rounds=4), *SITES)
    process = lab.start()
    lab.pid_in_round("south", 3)
    process.send_signal(signal.SIGINT)
    finish(process)
    back = job(rounds=4, rollbackTo={"round": 1})
    (tmp_path / "manifests.yaml").write_text(yaml.safe_dump_all([back, *SITES]))
    code, output = lab.run()
    assert code == 0, output
    assert "lab: rolled back: round 3 has the model of round 1" in output
    assert "lab is complete: 6/6 rounds" in output
    listed = lab.fedloom("model", "list", "lab").stdout.splitlines()
    assert [line.split()[0] for line in listed[1:]] == list("0123456")
    assert "back to 1" in listed[4]
    assert listed[4].split()[-1] == listed[2].split()[-1], "the same model"
    (tmp_path / "manifests.yaml").write_text(yaml.safe_dump_all([job(rounds=4, rollbackTo={"round": 2}), *SITES]))
    code, output = lab.run()
    assert (code, "spec.rollbackTo: the job has ended" in output) == (2, True), output
