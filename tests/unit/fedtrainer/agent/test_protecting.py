"""What a site lets its orders ask of it: noise that is enough, within what it may tell, and nothing beside the update."""

import pytest

from fedapi.wire.download import Download
from fedapi.wire.orders import TrainOrder
from fedapi.wire.privacy import Mechanism, PrivacyDemand, SiteNoise
from fedapi.wire.secagg import Groups, Terms
from fedapi.wire.secureround import SecureOrder
from fedapi.wire.training import Method, TrainingSettings
from fedcore.privacy.distributed import concentrated, lattice
from fedcore.privacy.gaussian import epsilon_of
from fedtrainer.agent.protecting import Protecting
from fedtrainer.errors import NotPrivateError, SiteStateError
from fedtrainer.settings import TrainerSettings
from fedtrainer.training.releases import RELEASES_FILE
from fedtrainer.training.state_files import Committed

DELTA = 1e-5


def order(noise: float | None = 4.0, round_: int = 1, attempt: int = 1, base: str = "0" * 64, **training) -> TrainOrder:
    asked = SiteNoise(clip_norm=1.0, clipping="Flat", noise_multiplier=noise, delta=DELTA) if noise else None
    return TrainOrder(
        round=round_,
        attempt=attempt,
        model=Download(url="https://hub/model", sha256=base, size=1, expires_at=0.0),
        evaluate=False,
        deadline=0.0,
        seed=0,
        training=TrainingSettings(**training),
        site_noise=asked,
    )


def masked(
    noise: float | None = 4.0, round_: int = 1, attempt: int = 1, base: str = "0" * 64, scheme: str | None = None
) -> TrainOrder:
    """An order of five sites, of which three stay at least and one may collude."""
    plain = order(None, round_, attempt, base)
    terms = Terms(
        job_uid="11111111-1111-4111-8111-111111111111",
        round=round_,
        attempt=attempt,
        base_sha256=base,
        roster={f"s{number}": bytes([number]) * 32 for number in range(5)},
        threshold=4,
        colluding=0 if scheme else 1,
        minimum_cohort=3,
        items=100,
        limit=1.0,
        scheme=scheme,
    )
    done = Mechanism(
        mode="Distributed", clip_norm=1.0, clipping="Flat", noise_multiplier=noise or 1.0, delta=DELTA, denominator=5
    )
    secure = SecureOrder(terms=terms, overflow="Fail", privacy=done if noise else None)
    return plain.model_copy(update={"secure": secure})


def rho(asked: TrainOrder) -> float:
    done = asked.secure.privacy
    return concentrated.rho_of(lattice.of(asked.secure.terms, done.clip_norm, done.noise_multiplier))


def protecting(folder, **demand) -> Protecting:
    settings = TrainerSettings(
        entrypoint="a:b",
        job="job",
        job_uid="uid",
        aggregator_url="https://hub",
        client="a",
        state_dir=folder,
        requires_privacy=PrivacyDemand(**demand).model_dump_json() if demand else None,
    )
    return Protecting(settings, folder / "uid" / "a" / "state")


def test_a_site_without_a_demand_adds_what_it_is_asked_for(tmp_path):
    assert protecting(tmp_path).protection(order(noise=None)) is None
    made = protecting(tmp_path).protection(order(noise=0.5))
    assert made.noise.noise_multiplier == 0.5
    assert len(made.key(bytes(32))) == 32


def test_weaker_noise_than_it_demands_is_refused(tmp_path):
    site = protecting(tmp_path, min_noise_multiplier=2.0)
    assert site.protection(order(noise=2.0)) is not None
    with pytest.raises(NotPrivateError, match=r"minNoiseMultiplier: the order asks for noiseMultiplier 1\.9"):
        site.protection(order(noise=1.9))
    with pytest.raises(NotPrivateError, match="without noise of the site: set privacy"):
        site.protection(order(noise=None))


def test_a_second_payload_would_tell_what_the_noise_hides(tmp_path):
    asked = order(method=Method(control_variates=2))
    with pytest.raises(NotPrivateError, match="asks for control beside the update"):
        protecting(tmp_path).protection(asked)


def test_the_budget_is_held_whoever_asks_and_however_often(tmp_path):
    demand = {"max_epsilon": epsilon_of(1.0, DELTA) + 1e-3, "delta": DELTA}  # four updates of mu 1/2
    for number in range(4):  # of rounds that begin anew, as after a restore, and in a new process each
        protecting(tmp_path, **demand).protection(order(base=f"{number:064d}")).key(bytes([number]) * 32)
    for asked in (order(round_=9), order(base="f" * 64), order(noise=0.5)):
        with pytest.raises(NotPrivateError, match="4 updates of this job were sent, and one more would make epsilon"):
            protecting(tmp_path, **demand).protection(asked)
    assert protecting(tmp_path, **demand).protection(order(noise=1e4, round_=9)) is not None, "it costs next to nothing"


def test_an_update_that_is_made_again_is_no_new_one(tmp_path):
    """A site was killed before it had sent its last; trained again, the update is the same, or it is one too many."""
    demand = {"max_epsilon": epsilon_of(0.5, DELTA) * (1 + 1e-9), "delta": DELTA}
    key = protecting(tmp_path, **demand).protection(order()).key(bytes(32))
    again = protecting(tmp_path, **demand).protection(order(attempt=2))
    assert again.key(bytes(32)) == key
    with pytest.raises(NotPrivateError, match="1 updates"):
        again.key(bytes([1]) * 32)


def test_an_account_that_was_put_back_allows_nothing(tmp_path):
    """A volume came back from a snapshot, or empty: what was told since is not in the record, and would be told twice."""
    demand, account = {"max_epsilon": 50.0, "delta": DELTA}, tmp_path / "uid" / "a" / "state" / RELEASES_FILE
    protecting(tmp_path, **demand).protection(order(round_=1)).key(bytes(32))
    snapshot = account.read_bytes()
    protecting(tmp_path, **demand).protection(order(round_=2)).key(bytes(32))
    second = Committed((2, 1), None)
    protecting(tmp_path, **demand).check(order(round_=3), second)
    account.write_bytes(snapshot)
    with pytest.raises(SiteStateError, match=r"maxEpsilon: .*releases\.json lacks the site's update of round 2"):
        protecting(tmp_path, **demand).check(order(round_=3), second)
    account.unlink()
    with pytest.raises(SiteStateError, match="lacks the site's update of round 2"):
        protecting(tmp_path, **demand).check(order(round_=3), second)
    protecting(tmp_path).check(order(round_=3), second)  # it demands nothing
    third, of_sums = masked(round_=3), demand | {"secure_aggregation": True}
    protecting(tmp_path, **of_sums).masked(third, third.secure)
    protecting(tmp_path, **of_sums).check(masked(round_=4), Committed((3, 1), None))
    account.unlink()
    with pytest.raises(SiteStateError, match="lacks the site's update of round 3"):
        protecting(tmp_path, **of_sums).check(masked(round_=4), Committed((3, 1), None))


def test_an_account_from_between_two_commits_allows_nothing(tmp_path):
    """What it lacks was accepted, and its attempt came to nothing: an opened sum has told it all the same."""
    demand, account = {"max_epsilon": 50.0, "delta": DELTA}, tmp_path / "uid" / "a" / "state" / RELEASES_FILE
    of_sums = demand | {"secure_aggregation": True}
    protecting(tmp_path, **demand).protection(order(round_=8)).key(bytes(32))
    protecting(tmp_path, **of_sums).masked(masked(attempt=1), masked(attempt=1).secure)
    snapshot = account.read_bytes()
    protecting(tmp_path, **of_sums).masked(masked(attempt=2), masked(attempt=2).secure)
    third = masked(attempt=3)
    protecting(tmp_path, **of_sums).check(third, None, (third.round, 2))
    account.write_bytes(snapshot)
    protecting(tmp_path, **of_sums).check(third, None, (third.round, 1))
    with pytest.raises(SiteStateError, match=f"round {third.round}, attempt 2, which the hub has accepted"):
        protecting(tmp_path, **of_sums).check(third, None, (third.round, 2))
    protecting(tmp_path, **demand).check(order(round_=8, attempt=3), None, (8, 2))  # the same update, however often
    with pytest.raises(SiteStateError, match="round 9, attempt 1, which the hub has accepted"):
        protecting(tmp_path, **demand).check(order(round_=9), None, (9, 1))


def test_a_site_that_wants_to_be_seen_in_sums_alone_refuses_all_else(tmp_path):
    site = protecting(tmp_path, secure_aggregation=True)
    site.check(masked(noise=None))
    site.check(masked())
    for asked in (order(noise=None), order(noise=9.0)):
        with pytest.raises(
            NotPrivateError, match=r"secureAggregation: .* aggregator sees by itself: set privacy\.secureAggr"
        ):
            site.check(asked)


@pytest.mark.parametrize("noise", [None, 9.0])
def test_an_encrypted_update_is_none_that_only_sums_show(tmp_path, noise):
    """Every site of the job has its key."""
    asked = masked(noise=noise, scheme="CKKS")
    with pytest.raises(
        NotPrivateError,
        match=r"requires\.privacy\.secureAggregation: .* a key that every site has.*: set privacy\.secureAggregation in the job",
    ):
        protecting(tmp_path, secure_aggregation=True).check(asked)
    with pytest.raises(NotPrivateError, match=r"set privacy\.differentialPrivacy\.mode: Local in the job$"):
        protecting(tmp_path, min_noise_multiplier=2.0).check(asked)
    protecting(tmp_path).check(asked)


def test_noise_of_a_sum_is_enough_only_where_the_site_says_so(tmp_path):
    site = protecting(tmp_path, secure_aggregation=True, min_noise_multiplier=2.0)
    site.check(masked(noise=2.0))
    with pytest.raises(NotPrivateError, match=r"minNoiseMultiplier: the order asks for noiseMultiplier 1\.9"):
        site.check(masked(noise=1.9))
    in_groups = masked(noise=9.0)
    terms = in_groups.secure.terms.model_copy(update={"groups": Groups(size=3, minimum=3)})
    with pytest.raises(NotPrivateError, match="for one sum of all, the terms ask for sums of groups"):
        site.check(in_groups.model_copy(update={"secure": in_groups.secure.model_copy(update={"terms": terms})}))
    with pytest.raises(NotPrivateError, match=r"sum without noise of the sites: set .*mode: Distributed"):
        site.check(masked(noise=None))
    with pytest.raises(NotPrivateError, match="secureAggregation: true"):
        protecting(tmp_path, min_noise_multiplier=2.0).check(masked(noise=9.0))


def test_sums_with_noise_are_counted_by_the_site_for_each_attempt_and_once(tmp_path):
    """Whatever the hub says of its attempts: each has other noise, so that each is one more release."""
    first, second, third = masked(), masked(attempt=2), masked(round_=2, base="1" * 64)
    most = concentrated.epsilon_of(2 * rho(first), DELTA) * (1 + 1e-9)
    demand = {"secure_aggregation": True, "max_epsilon": most, "delta": DELTA}
    for asked in (first, first, second):  # in a new process each
        protecting(tmp_path, **demand).masked(asked, asked.secure)
    site = protecting(tmp_path, **demand)
    site.check(second)
    with pytest.raises(NotPrivateError, match="2 updates of this job were sent, and one more would make epsilon"):
        site.check(third)
    with pytest.raises(NotPrivateError, match="maxEpsilon"):
        site.masked(third, third.secure)
    assert protecting(tmp_path).masked(masked(noise=None), masked(noise=None).secure) is None, "no noise to count"
