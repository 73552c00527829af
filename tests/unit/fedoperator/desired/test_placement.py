"""Where training pods may run."""

import pytest

from fedoperator.desired import placement
from fedoperator.desired.pool import Shape
from tests.unit.fedoperator import samples as s
from tests.unit.fedoperator.desired import manifests as m

SPOT = {"spot": True}


# provider, pool -> node labels, keys of tolerations
PLACES = [
    ("GCP", {}, {}, []),
    ("AWS", m.GPU, {}, ["nvidia.com/gpu"]),
    ("AWS", m.GPU | SPOT, {"eks.amazonaws.com/capacityType": "SPOT"}, ["nvidia.com/gpu"]),
    ("AWS", m.GPU | {"resourceName": "aws.amazon.com/neuroncore"}, {}, ["aws.amazon.com/neuron"]),
    ("AWS", m.GPU | {"resourceName": "habana.ai/gaudi"}, {}, ["habana.ai/gaudi"]),
    ("OnPremises", m.GPU | {"resourceName": "nvidia.com/mig-1g.5gb"} | SPOT, {}, ["nvidia.com/gpu"]),
    ("OnPremises", m.GPU | {"resourceName": "amd.com/gpu"}, {}, ["amd.com/gpu"]),
    (
        "Azure",
        m.GPU | SPOT,
        {"kubernetes.azure.com/scalesetpriority": "spot"},
        ["nvidia.com/gpu", "kubernetes.azure.com/scalesetpriority"],
    ),
    ("GCP", SPOT, {"cloud.google.com/gke-spot": "true"}, ["cloud.google.com/gke-spot"]),
    (
        "GCP",
        m.tpu("4x4"),
        {"cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice", "cloud.google.com/gke-tpu-topology": "4x4"},
        ["google.com/tpu"],
    ),
    (
        "GCP",
        m.tpu("2x4", "tpu-v6e-slice", count=8),
        {
            "cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice",
            "cloud.google.com/gke-tpu-topology": "2x4",
            "cloud.google.com/gke-accelerator-count": "8",
        },
        ["google.com/tpu"],
    ),
]


@pytest.mark.parametrize(("provider", "pool", "labels", "taints"), PLACES)
def test_places(provider, pool, labels, taints):
    spec = m.template(m.rendered(pool, provider))["spec"]
    assert spec.get("nodeSelector", {}) == labels
    assert [toleration["key"] for toleration in spec.get("tolerations", [])] == taints


def test_what_a_site_asks_for_itself_wins_and_is_not_said_twice():
    own = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    pool = m.GPU | SPOT | {"nodeSelector": {"cloud.google.com/gke-spot": "maybe"}, "tolerations": [own]}
    site = s.site("a", provider="GCP", pool=pool)
    assert placement.node_selector(site.spec, Shape.of(site.spec.pool)) == {"cloud.google.com/gke-spot": "maybe"}
    assert [t["key"] for t in placement.tolerations(site.spec)] == ["nvidia.com/gpu", "cloud.google.com/gke-spot"]
