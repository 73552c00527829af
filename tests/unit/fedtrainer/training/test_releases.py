"""What a site remembers of the updates that it has sent with noise: each counts once, however often it is made, and none is forgotten."""

import json
import stat

import pytest

from fedapi.wire.privacy import SiteNoise
from fedcore.privacy.gaussian import epsilon_of
from fedtrainer.errors import SiteStateError
from fedtrainer.training.releases import KEY_FILE, RELEASES_FILE, Context, Releases

NOISE = SiteNoise(clip_norm=1.0, clipping="Flat", noise_multiplier=4.0, delta=1e-5)
A, B = bytes(32), bytes([1]) * 32  # digests of updates


def context(**values) -> Context:
    return Context(**{"job_uid": "uid", "client": "a", "round": 1, "base_sha256": "0" * 64} | values)


def allowed() -> None:
    pass


def forbidden() -> None:
    raise PermissionError


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "a" / "state"


def test_the_same_update_has_the_same_noise_in_every_process_and_counts_once(folder):
    keys = {Releases(folder).key(context(), NOISE, A, allowed) for _ in range(3)}
    assert len(keys) == 1
    found = Releases(folder)
    assert found.key(context(), NOISE, A, forbidden) in keys, "it is no new one, whatever the budget is"
    assert (len(found), found.epsilon(1e-5)) == (1, pytest.approx(epsilon_of(0.5, 1e-5)))


@pytest.mark.parametrize(
    ("of", "noise", "update"),
    [
        (context(), NOISE, B),
        (context(round=2), NOISE, A),
        (context(base_sha256="1" * 64), NOISE, A),
        (context(client="b"), NOISE, A),
        (context(job_uid="other"), NOISE, A),
        (context(), NOISE.model_copy(update={"noise_multiplier": 8.0}), A),
        (context(), NOISE.model_copy(update={"clip_norm": 2.0}), A),
    ],
)
def test_noise_belongs_to_what_it_hides(folder, of, noise, update):
    found = Releases(folder)
    first = found.key(context(), NOISE, A, allowed)
    assert found.key(of, noise, update, allowed) != first
    assert len(Releases(folder)) == 2


def test_no_other_site_can_know_it(folder, tmp_path):
    assert Releases(folder).key(context(), NOISE, A, allowed) != Releases(tmp_path / "b" / "state").key(
        context(), NOISE, A, allowed
    )
    secret = folder / KEY_FILE
    assert len(secret.read_bytes()) == 32
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_what_is_not_allowed_is_not_recorded(folder):
    found = Releases(folder)
    found.key(context(), NOISE, A, allowed)
    with pytest.raises(PermissionError):
        found.key(context(), NOISE, B, forbidden)
    assert len(found) == len(Releases(folder)) == 1


def test_more_updates_tell_more(folder):
    found = Releases(folder)
    for number in range(9):
        found.key(context(round=number), NOISE, A, allowed)
    assert found.epsilon(1e-5) == pytest.approx(epsilon_of(1.5, 1e-5))
    assert found.epsilon(1e-5, NOISE) == pytest.approx(epsilon_of((10 / 4) ** 0.5, 1e-5))
    assert found.has(context(round=3), NOISE)
    assert not found.has(context(round=9), NOISE)


@pytest.mark.parametrize("damage", [b"", b"{", json.dumps({"releases": [{"round": 1}]}).encode()])
def test_a_record_that_is_damaged_is_not_an_empty_one(folder, damage):
    Releases(folder).key(context(), NOISE, A, allowed)
    (folder / RELEASES_FILE).write_bytes(damage)
    with pytest.raises(SiteStateError, match="nobody knows what the site has told"):
        Releases(folder)


def test_a_short_secret_is_none(folder):
    Releases(folder).key(context(), NOISE, A, allowed)
    (folder / KEY_FILE).write_bytes(b"short")
    with pytest.raises(SiteStateError, match="5 bytes, not 32"):
        Releases(folder).key(context(), NOISE, A, allowed)
