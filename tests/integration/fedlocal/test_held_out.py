"""A local run with a site that is held out of training: the same code as on a cluster, from the manifest to the records."""

import json

import pytest

from tests.integration.fedlocal.runs import Lab, job, site


def labelled(name, **labels):
    manifest = site(name)
    return {**manifest, "metadata": {**manifest["metadata"], "labels": labels}}


OUT = {"heldOut": {"selector": {"matchLabels": {"role": "validation"}}, "everyRounds": 2}}
SITES = (labelled("north"), labelled("south"), labelled("watch", role="validation"))


def observations(lab):
    found = sorted((lab.state / "claims").glob("*/control/*/*/rounds/*/sites/watch/*/site-evaluation.json"))
    return [json.loads(path.read_text()) for path in found]


@pytest.mark.parametrize("lifetime", ["Job", "Round"])
def test_a_held_out_site_evaluates_and_changes_no_bit(tmp_path, done, lifetime):
    training = {"optimizer": {"learningRate": "0.1"}, "lifetime": lifetime}
    lab = Lab.of(tmp_path, job(evaluation=OUT, training=training), *SITES)
    code, output = lab.run()
    assert code == 0, output
    assert lab.digest() == done[0].digest()
    assert "no update of theirs" not in output
    told = observations(lab)
    assert told[-1]["round"] == 3, "the last model is evaluated, whatever everyRounds says"
    assert {each["round"] for each in told} <= {0, 2, 3}
    assert all(each["held_out"] and each["samples"] == 16 and "loss" in each["metrics"] for each in told)
    assert not (tmp_path / "marks" / "watch-1").exists(), "it never trains"
    assert [client["rounds"] for client in lab.result()["clients"]] == [3, 3, 0]
    rows = [json.loads(line) for line in lab.fedloom("history", "lab", "--output", "jsonl").stdout.splitlines()]
    assert [(row["round"], row["participants"]) for row in rows] == [
        (0, []),
        *((n, ["north", "south"]) for n in (1, 2, 3)),
    ]
    assert rows[3]["evaluation"]["sites"].keys() == {"north", "south"}
    assert rows[3]["held_out"]["sites"] == {"watch": told[-1]["metrics"]}
    assert rows[3]["bytes_up"] == 2 * 148, "two files of a linear layer"


def test_a_job_whose_sites_are_all_held_out_says_so(tmp_path):
    lab = Lab.of(tmp_path, job(evaluation=OUT), SITES[2])
    code, output = lab.run()
    assert code == 2
    assert "spec.evaluation.heldOut.selector: holds all 1 sites out, so that none trains" in output


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"clients": {"minAvailable": 3}}, "spec.clients.minAvailable: is 3, but 2 of 2 selected sites can take part"),
        ({"round": {"quorum": 3}}, "spec.round.quorum: is 3, but 2 selected sites can take part"),
    ],
)
def test_a_site_that_does_not_count_is_named_where_others_are_too_few(tmp_path, values, said):
    lab = Lab.of(tmp_path, job(evaluation=OUT, **values), *SITES)
    code, output = lab.run()
    assert code == 2, output
    assert f"{said}, beside 1 held out by spec.evaluation.heldOut.selector: lower it" in output
