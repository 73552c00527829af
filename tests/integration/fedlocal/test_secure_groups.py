"""`fedloom run` with sums of groups: a site that sends far too much spoils one group's mean, which the median over groups bears."""

import shutil

import numpy as np

from tests.integration.fedlocal.runs import TASK, Lab, job
from tests.integration.fedlocal.test_secure_aggregation import LIMIT, commits, keyed, model

SITES = ("ada", "bob", "cleo", "dora", "emil", "fay")
ATTACKER = "cleo"
ROUNDS = 5  # that three groups of two are the same in all of them has a chance of 90^-4


def grouped(folder) -> Lab:
    asked = {
        "colluding": 0,
        "valueRange": str(LIMIT),
        "overflow": "Clip",
        "exchangeTimeout": "300s",
        "groups": {"size": 2},
    }
    privacy = {"secureAggregation": asked}
    made = job(
        task={"entrypoint": "masked:task", "image": "none"}, rounds=ROUNDS, privacy=privacy, strategy={"name": "Median"}
    )
    parts = [part for name in SITES for part in keyed(name, **({"LAB_TIMES": "50"} if name == ATTACKER else {}))]
    lab = Lab.of(folder, made, *parts)
    shutil.copy(TASK.with_name("masked.py"), folder / "masked.py")
    return lab


def test_models_are_medians_of_the_means_of_groups(tmp_path):
    lab = grouped(tmp_path)
    code, output = lab.run()
    assert code == 0, output
    initial, *rounds = commits(lab)
    before = model(lab, initial)
    for commit in rounds:
        assert sorted(site for group in commit.groups for site in group.sites) == list(SITES)
        assert len(commit.groups) == 3
        weights = {each.client: each.samples for each in commit.participants}
        now = model(lab, commit)
        for name, base in before.items():
            sent = {
                site: np.clip(np.load(lab.folder / "marks" / f"{site}-{commit.round}.npz")[name], -LIMIT, LIMIT)
                for site in SITES
            }
            means = [
                np.average([sent[site] for site in group.sites], axis=0, weights=[weights[s] for s in group.sites])
                for group in commit.groups
            ]
            assert np.allclose(now[name], base + np.median(means, axis=0), atol=1e-6), (commit.round, name)
            if commit.round == 1:
                honest = np.abs([sent[site] for site in SITES if site != ATTACKER]).max()
                assert np.abs(now[name] - base).max() <= honest + 1e-6, "not beyond what honest sites sent"
        before = now
    assert len(rounds) == ROUNDS
    assert len({tuple(group.sites for group in commit.groups) for commit in rounds}) > 1, "dealt anew in each round"
