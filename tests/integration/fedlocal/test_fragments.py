"""DiLoCo by fragments over real processes: bytes per round, a site that misses its turns, going back, and what else a job has."""

import re
import signal

import pytest
from safetensors.numpy import load_file

from tests.integration.fedlocal.runs import Lab, finish, job, site
from tests.waiting import until

DEEP = """
import torch

import lab


class Deep(lab.Lab):
    def model(self):
        layers = [torch.nn.Linear(4, 192), *(torch.nn.Linear(192, 192) for _ in range(8)), torch.nn.Linear(192, 1)]
        return torch.nn.Sequential(*layers)


def task():
    return Deep()
"""
TASK = {"entrypoint": "deep:task", "image": "none"}
TRAINING = {"localSteps": 2, "optimizer": {"name": "AdamW", "learningRate": "0.002"}}


def fragments(count):
    return {"name": "DiLoCo", "diLoCo": {"fragments": count}}


def kept(name, **env):
    """A site with a volume for its state."""
    made = site(name, **env)
    made["spec"]["state"] = {"persistentVolumeClaim": {"claimName": f"{name}-state"}}
    return made


SITES = (kept("north"), kept("south"))


@pytest.fixture
def made(tmp_path):
    labs = []

    def make(name="lab", *documents, count=2, **spec):
        spec = {"task": TASK, "training": TRAINING, "strategy": fragments(count), "rounds": 4} | spec
        lab = Lab.of(tmp_path / name, job(**spec), *(documents or SITES))
        (lab.folder / "deep.py").write_text(DEEP)
        labs.append(lab)
        return lab

    yield make
    for lab in labs:
        lab.close()


def run(lab, *options):
    code, output = lab.run(*options)
    assert code == 0, output
    return output


def models(lab):
    found = lab.state.glob("claims/*/models/*/*/*.safetensors")
    return {int(path.name[:6]): load_file(path) for path in found}


def changed(lab, round_, since=None):
    """Layers that a round has stepped, since the one before it or since another."""
    before, after = models(lab)[round_ - 1 if since is None else since], models(lab)[round_]
    return {name.split(".")[0] for name in after if (before[name] != after[name]).any()}


def sent_in(lab, round_):
    """Bytes of an update that waits for the other site's."""
    updates = f"claims/*/updates/**/client_north_round_{round_}-*.safetensors"
    (path,) = until(lambda: list(lab.state.glob(updates)))
    return path.stat().st_size


def fetched(lab, name):
    """Bytes that a site has fetched of models of which it had the one before, and those of the whole."""
    log = (lab.state / "logs" / f"{name}.log").read_text()
    return [tuple(map(int, found)) for found in re.findall(r"fetched what has changed .*, (\d+) bytes of (\d+)", log)]


def test_a_round_moves_a_quarter_of_the_model(made):
    """Updates are counted at the hub, in the store: of four fragments none is more than its share and a header."""
    lab = made("lab", kept("north"), kept("south", LAB_HOLD="1,2,3,4"), count=4)
    process = lab.start()
    sizes = []
    for round_ in (1, 2, 3, 4):
        lab.pid_in_round("south", round_)
        sizes.append(sent_in(lab, round_))
        lab.go(round_)
    assert finish(process)[0] == 0
    whole = sum(tensor.nbytes for tensor in models(lab)[0].values())
    assert max(sizes) <= 1.05 * whole / 4
    assert sum(sizes) >= whole, "and in as many rounds all of it"
    down = [fetched(lab, name) for name in ("north", "south")]
    assert down[0] == down[1]
    assert len(down[0]) == 4, "all models but the initial one: the last is evaluated"
    assert all(part <= 1.1 * of / 4 for part, of in down[0])
    turns = [changed(lab, round_) for round_ in (1, 2, 3, 4)]
    assert sorted(layer for turn in turns for layer in turn) == sorted(str(number) for number in range(10))


def test_a_site_misses_its_turns_and_comes_back(made):
    """It takes part in rounds 1, 4 and 7 of 7: the others step both fragments meanwhile."""
    seldom = kept("south")
    seldom["spec"]["participation"] = {"everyRounds": 3}
    lab = made("lab", kept("north"), kept("east"), seldom, rounds=7)
    run(lab)
    rounds = {client["name"]: client["rounds"] for client in lab.result()["clients"]}
    assert rounds == {"north": 7, "east": 7, "south": 3}
    assert lab.result()["metrics"]["loss"] < 5, "it begins at about 6"


def test_going_back(made):
    """Rounds 1 and 2 again, from the states of their own sites: each fragment once more against the hub's values of then."""
    held = kept("north", LAB_HOLD="4"), kept("south", LAB_HOLD="4")
    lab = made("lab", *held, rounds=6)
    process = lab.start()
    for name in ("north", "south"):
        lab.pid_in_round(name, 4)
    process.send_signal(signal.SIGINT)
    finish(process)
    lab.go(4)
    output = run(made("lab", *held, rounds=6, rollbackTo={"round": 2}))
    assert "round 4 has the model of round 2" in output, output
    turns = [changed(lab, 5, since=2), changed(lab, 6)]
    assert turns[0] == changed(lab, 3), "by the number of the round"
    assert turns[0] | turns[1] == {str(number) for number in range(10)}
    assert not turns[0] & turns[1]


def test_with_layers_that_stay_or_are_frozen_and_encoded_models_and_updates(made):
    """Those that travel alone are divided, and what TopK leaves unsent of a fragment waits for its next turn."""
    travel = {"exchange": ["[1-8].*"], "localParameters": ["9.*"]}
    lab = made(
        training=TRAINING | travel,
        compression={
            "codec": "TopK",
            "topK": {"fraction": "0.1"},
            "errorFeedback": True,
            "download": {"codec": "Int8"},
        },
        storage={"clientEncryption": {"enabled": True, "kem": "X25519"}},
        rounds=5,
    )
    run(lab)
    turns = [changed(lab, round_) for round_ in (2, 3, 4, 5)]
    assert turns[0] == turns[2]
    assert turns[1] == turns[3]
    assert turns[0] | turns[1] == {str(number) for number in range(1, 9)}
    assert not turns[0] & turns[1]


def test_more_fragments_than_layers_end_the_job(made):
    code, output = made("lab", count=11).run()
    assert code != 0
    assert "strategy.diLoCo.fragments is 11, and the model has 10 layers that travel: set at most so many" in output
