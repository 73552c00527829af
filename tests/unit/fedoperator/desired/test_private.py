"""A training pod is told how much noise its site demands, and what it may tell."""

import json

from fedapi import names
from fedapi.wire.privacy import PrivacyDemand
from fedoperator.desired.training_job import training_job
from tests.unit.fedoperator import samples as s
from tests.unit.fedoperator.desired import manifests as m


def test_a_demanding_site_is_told_its_own_demand_and_no_other_is():
    demand = {"secureAggregation": True, "minNoiseMultiplier": "2", "maxEpsilon": "8", "delta": "1e-5"}
    made = training_job(s.job(), s.site("a", requires={"privacy": demand}), m.DOMAIN)
    env = {entry["name"]: entry.get("value") for entry in m.container(made)["env"]}
    read = PrivacyDemand.model_validate_json(env[names.ENV_REQUIRES_PRIVACY])
    assert read.secure_aggregation
    assert (read.min_noise_multiplier, read.max_epsilon, read.delta) == (2.0, 8.0, 1e-5)
    assert "REQUIRES" not in json.dumps(training_job(s.job(), s.site("a"), m.DOMAIN))
