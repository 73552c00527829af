"""What a trusted environment asks of the aggregator's pod, by platform, and nothing where none is asked for."""

import json

import pytest

from fedapi import names
from fedapi.crd.confidential import AGENT
from fedapi.wire.attestation import Demand, Verifier
from fedoperator.desired.aggregator import deployment
from fedoperator.desired.training_job import training_job
from tests.unit.fedoperator import samples as s
from tests.unit.fedoperator.desired import manifests as m

SEALED = {"clientEncryption": {"enabled": True}}
VERIFIER = {"url": "https://as.example.org/attestation", "publicKey": "-----BEGIN PUBLIC KEY-----\nMCow\n"}


def pod(**confidential):
    job = s.job(aggregator={"confidential": confidential} if confidential else {}, storage=SEALED)
    return deployment(job, "hub:1", "Always", m.DOMAIN, 1)["spec"]["template"]


def told(pod):
    return {entry["name"]: entry.get("value") for entry in pod["spec"]["containers"][0]["env"]}


@pytest.mark.parametrize(
    ("asked", "selector", "runtime_class", "limits"),
    [
        (
            {"type": "SEV-SNP", "platform": "GKE"},
            {"cloud.google.com/gke-confidential-nodes-instance-type": "SEV_SNP"},
            None,
            {},
        ),
        (
            {"type": "TDX", "platform": "GKE"},
            {"cloud.google.com/gke-confidential-nodes-instance-type": "TDX"},
            None,
            {},
        ),
        (
            {"type": "SEV-SNP", "platform": "AKS"},
            {"kubernetes.azure.com/kata-cc-isolation": "true"},
            "kata-cc-isolation",
            {},
        ),
        ({"type": "SEV-SNP", "platform": "Kata"}, {}, "kata-qemu-snp", {}),
        ({"type": "TDX", "platform": "Kata"}, {}, "kata-qemu-tdx", {}),
        ({"type": "TDX", "platform": "Kata", "runtimeClassName": "kata-remote"}, {}, "kata-remote", {}),
        ({"type": "TDX", "platform": "Other"}, {}, None, {}),
        (
            {"type": "NitroEnclave", "platform": "EKS", "enclaveMemory": "2Gi"},
            {"aws-nitro-enclaves-k8s-dp": "enabled"},
            None,
            {"aws.ec2.nitro/nitro_enclaves": "1", "hugepages-2Mi": "2Gi"},
        ),
    ],
)
def test_where_the_pod_may_run_and_what_it_gets(asked, selector, runtime_class, limits):
    made = pod(**asked)
    assert made["spec"].get("nodeSelector", {}) == selector
    assert made["spec"].get("runtimeClassName") == runtime_class
    assert made["spec"]["containers"][0]["resources"]["limits"] == {"memory": "1Gi"} | limits
    pages = [volume for volume in made["spec"]["volumes"] if volume["name"] == "hugepages"]
    assert pages == ([{"name": "hugepages", "emptyDir": {"medium": "HugePages-2Mi"}}] if limits else [])
    assert told(made)[names.ENV_TEE] == asked["type"]
    assert told(made)[names.ENV_TEE_AGENT] == AGENT
    assert names.ENV_TEE_VERIFIER not in told(made)


def test_the_guest_of_confidential_containers_is_told_to_give_evidence_and_its_init_data():
    keys = "io.katacontainers.config.hypervisor."
    made = pod(type="TDX", platform="Kata", initData="H4sIAAAA")["metadata"]["annotations"]
    assert made[f"{keys}kernel_params"] == "agent.guest_components_rest_api=all"
    assert made[f"{keys}cc_init_data"] == "H4sIAAAA"
    assert "annotations" not in pod(type="TDX", platform="GKE")["metadata"]


def test_the_verifier_is_told_as_the_process_reads_it():
    made = told(pod(type="TDX", platform="Kata", verifier=VERIFIER))[names.ENV_TEE_VERIFIER]
    assert Verifier.model_validate_json(made).public_key == VERIFIER["publicKey"]


def test_a_job_that_asks_for_none_is_as_it_was():
    assert "TEE" not in json.dumps(pod())
    assert "runtimeClassName" not in pod()["spec"]


def test_a_demanding_site_is_told_its_own_demand_and_no_other_is():
    demand = {
        "types": ["SEV-SNP", "TDX"],
        "verifier": VERIFIER | {"policies": ["strict"]},
        "measurements": [{"claim": "snp.measurement", "values": ["5a", "5b"]}],
    }
    made = training_job(s.job(), s.site("a", requires={"confidential": demand}), m.DOMAIN)
    env = {entry["name"]: entry.get("value") for entry in m.container(made)["env"]}
    read = Demand.model_validate_json(env[names.ENV_REQUIRES_CONFIDENTIAL])
    assert (read.tees, read.measurements[0].values, read.verifier.policies) == (
        ("SEV-SNP", "TDX"),
        ("5a", "5b"),
        ("strict",),
    )
    assert "REQUIRES" not in json.dumps(training_job(s.job(), s.site("a"), m.DOMAIN))
