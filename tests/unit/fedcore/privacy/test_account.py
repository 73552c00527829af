"""What has been spent and what is left: targets are met by the last round and never passed."""

import math

import pytest

from fedapi.wire.privacy import Mode, Privacy
from fedcore.privacy.account import Account, noise_multiplier
from fedcore.privacy.account import mu_of as mu_of_release
from fedcore.privacy.gaussian import mu_of

DELTA = 1e-5


def asked(noise: float | None = None, target: float | None = None, mode: Mode = "Central") -> Privacy:
    return Privacy(mode=mode, clip_norm=1.0, noise_multiplier=noise, target_epsilon=target, delta=DELTA)


@pytest.mark.parametrize("rounds", [1, 2, 7, 100])
@pytest.mark.parametrize("target", [0.5, 3.0, 20.0])
def test_rounds_that_are_all_alike_spend_the_target_and_no_more(rounds, target):
    account, seen = Account(), set()
    for done in range(rounds):
        found = noise_multiplier(asked(target=target), account, rounds - done)
        assert found is not None
        seen.add(f"{found:.7g}")
        account = account.charged(found)
    assert len(seen) == 1
    assert float(seen.pop()) == pytest.approx(math.sqrt(rounds) / mu_of(target, DELTA), rel=1e-6)
    assert account.epsilon(DELTA) == pytest.approx(target, rel=1e-6)
    assert account.epsilon(DELTA) <= target * (1 + 1e-9)
    assert noise_multiplier(asked(target=target), account, 1) is None


def test_more_rounds_than_were_planned_share_what_is_left():
    account = Account().charged(2.0).charged(2.0)
    found = noise_multiplier(asked(target=5.0), account, 10)
    assert found is not None
    for _ in range(10):
        account = account.charged(found)
    assert account.epsilon(DELTA) == pytest.approx(5.0, rel=1e-6)


def test_noise_that_is_given_is_taken_until_the_target():
    account, rounds = Account(), 0
    while (found := noise_multiplier(asked(noise=2.0, target=6.0), account, 100)) is not None:
        account, rounds = account.charged(found), rounds + 1
    assert account.epsilon(DELTA) <= 6.0 < account.charged(2.0).epsilon(DELTA)
    assert rounds == 6
    assert noise_multiplier(asked(noise=2.0), account, 1) == 2.0


def test_an_update_of_its_own_takes_twice_the_noise():
    """Replaced by any other, a clipped update moves by two clip norms: in a sum it is there or not, and moves that by one."""
    account = Account()
    for done in range(5):
        found = noise_multiplier(asked(target=3.0, mode="Local"), account, 5 - done)
        assert found == pytest.approx(2 * math.sqrt(5) / mu_of(3.0, DELTA), rel=1e-6)
        account = account.charged(found, mu_of_release("Local", found))
    assert account.epsilon(DELTA) == pytest.approx(3.0, rel=1e-6)
    assert account.last == found
    assert noise_multiplier(asked(target=3.0, mode="Local"), account, 1) is None


def test_rounds_without_noise_have_no_epsilon():
    account = Account(unprotected=1)
    assert account.epsilon(DELTA) == math.inf
    assert noise_multiplier(asked(target=1.0), account, 1) is None


def test_without_noise_and_target_there_is_no_privacy():
    with pytest.raises(ValueError, match="noise_multiplier or target_epsilon"):
        asked()
