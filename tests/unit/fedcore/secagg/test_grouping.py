"""Groups of sites under secure aggregation: who is with whom, who is left, and what robust rules make of their means."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcore.secagg import grouping
from fedcore.secagg.errors import AttemptFailedError
from fedcore.strategies import table
from fedcore.tensors.arithmetic import Accumulator

CONTEXT = b"terms of round 3"


def names(count):
    return [f"site-{number:03}" for number in range(count)]


@given(count=st.integers(1, 60), least=st.integers(1, 12), context=st.binary(max_size=40))
def test_each_site_is_in_one_group_and_no_group_is_too_small(count, least, context):
    if count < least:
        with pytest.raises(AttemptFailedError, match=f"{count} sites are below the {least} of a group"):
            grouping.dealt(names(count), least, context)
        return
    groups = grouping.dealt(names(count), least, context)
    assert sorted(site for group in groups for site in group.sites) == names(count)
    assert len(groups) == count // least
    sizes = [len(group.sites) for group in groups]
    assert min(sizes) >= least
    assert max(sizes) - min(sizes) <= 1
    assert groups == grouping.dealt(reversed(names(count)), least, context), "whoever deals"


def test_groups_are_others_in_each_attempt_and_every_two_sites_meet():
    dealt = [grouping.dealt(names(12), 3, str(number).encode()) for number in range(200)]
    assert len(set(dealt)) == len(dealt)
    mine = [next(group.sites for group in groups if "site-007" in group.sites) for groups in dealt]
    met = [sum(site in group for group in mine) for site in names(12) if site != "site-007"]
    assert min(met) > 15  # of 200, where 36 are expected
    assert max(met) < 60


@pytest.mark.parametrize("malicious", [1, 2, 3])
def test_a_median_over_groups_bears_so_many_malicious_sites_and_a_mean_bears_none(malicious):
    sites, least = names(28), 4
    groups = grouping.dealt(sites, least, CONTEXT)
    assert (len(groups) - 1) // 2 == 3 >= malicious
    values = {site: 1.0 + 0.01 * number for number, site in enumerate(sites)}
    bad = [group.sites[0] for group in groups[:malicious]]  # the worst for the rule: in as many groups as can be
    values |= dict.fromkeys(bad, -1e6)
    means = [np.full(5, np.mean([values[site] for site in group.sites]), np.float32) for group in groups]
    strategy = table.STRATEGIES["Median"]
    made = strategy.combine(((Fraction(1, 7), each) for each in means), Accumulator.of("F32", 5), {})
    assert (made >= 1.0).all()
    assert (made <= 1.0 + 0.01 * 28).all()
    assert np.mean(means) < 0
