"""What ranks are told of their ring."""

from fedapi import names
from fedoperator.desired.ring_policy import ring_policy
from fedoperator.desired.ring_service import ring_service
from tests.unit.fedoperator import samples as s
from tests.unit.fedoperator.desired import manifests as m

RING = {names.ENV_RING_LEADER, names.ENV_RING_ADDRESS, names.ENV_RING_WORKERS, names.ENV_RING_SLOTS}


def test_one_rank_is_told_of_no_ring_and_one_pod_of_no_network():
    alone = m.env(m.rendered({}))
    assert not RING & alone.keys()
    assert names.ENV_COLLECTIVE not in alone
    assert (alone[names.ENV_ACCELERATOR], alone[names.ENV_LIFETIME]) == ("CPU", "Job")
    chip = m.env(m.rendered(m.tpu("1x1")))
    assert not RING & chip.keys()
    assert (chip[names.ENV_ACCELERATOR], chip[names.ENV_COLLECTIVE]) == ("TPU", "XLA")
    eight = m.env(m.rendered(m.GPU))
    assert (eight[names.ENV_RING_LEADER], eight[names.ENV_RING_ADDRESS]) == ("127.0.0.1", "127.0.0.1")
    assert (eight[names.ENV_RING_WORKERS], eight[names.ENV_RING_SLOTS]) == ("1", "8")
    for pool in ({}, m.GPU, m.tpu("2x4", count=8)):
        job = m.rendered(pool)
        assert "completionMode" not in job["spec"]
        assert "subdomain" not in m.template(job)["spec"]
        assert ring_service(s.job(), s.site("a", pool=pool)) is None
        assert ring_policy(s.job(), s.site("a", pool=pool)) is None
