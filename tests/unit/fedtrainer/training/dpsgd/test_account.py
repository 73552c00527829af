"""The site's account outlives what a process does, and is never a shorter one without anybody noticing."""

import pytest

from fedtrainer.errors import SiteStateError
from fedtrainer.training.dpsgd.account import FILE, Account
from fedtrainer.training.dpsgd.accountant import Release
from fedtrainer.training.state_files import Committed

DIGEST = "a" * 64


def charged(folder, *updates):
    account = Account(folder)
    for update in updates:
        account.charge(update, DIGEST, Release(1.5, 0.25, 4))
    return account


def test_what_was_charged_is_there_for_the_next_process(tmp_path):
    charged(tmp_path / "state", (1, 1), (1, 2), (2, 1))
    again = Account(tmp_path / "state")
    assert again.releases == (Release(1.5, 0.25, 4),) * 3
    again.charge((3, 1), DIGEST, Release(2.0, 0.5, 7))
    assert Account(tmp_path / "state").releases[-1] == Release(2.0, 0.5, 7)


def test_a_line_that_a_crash_cut_off_was_no_charge_and_is_written_over(tmp_path):
    charged(tmp_path, (1, 1), (2, 1))
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-5])
    account = Account(tmp_path)
    assert len(account.releases) == 1
    account.charge((2, 1), DIGEST, Release(1.5, 0.25, 4))
    assert len(Account(tmp_path).releases) == 2


@pytest.mark.parametrize(
    "change", [(b"1.5", b"9.5"), (b'"steps":4', b'"steps":0'), (b"{", b"["), (b"0.25", b"0.2\xff")]
)
def test_bytes_that_have_changed_are_no_account(tmp_path, change):
    charged(tmp_path, (1, 1), (2, 1))
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes().replace(*change, 1))
    with pytest.raises(SiteStateError, match="cannot be read"):
        Account(tmp_path)


@pytest.mark.parametrize("kept", [(), ((1, 1),), ((2, 2),)])
def test_an_account_without_what_the_hub_has_committed_is_not_whole(tmp_path, kept):
    account = charged(tmp_path, *kept)
    with pytest.raises(SiteStateError, match=r"lacks its update of round 2, attempt 1.*put back the volume"):
        account.check(Committed((2, 1), DIGEST))


def test_an_account_without_what_the_hub_has_accepted_since_is_not_whole(tmp_path):
    account = charged(tmp_path, (1, 1), (2, 1))
    account.check(Committed((1, 1), DIGEST), (2, 1))
    with pytest.raises(
        SiteStateError, match="lacks its update of round 2, attempt 2, which the aggregator has accepted"
    ):
        account.check(Committed((1, 1), DIGEST), (2, 2))


def test_an_account_that_has_it_is(tmp_path):
    account = charged(tmp_path, (1, 1), (2, 1), (3, 1))
    account.check(Committed((2, 1), DIGEST))
    account.check(None)
