"""What a trusted execution environment asks of the aggregator's pod, by platform; and what a site is told that demands one. Pure.

Used by the builders of the aggregator and of training Jobs. The names are those of the providers' node labels, runtime classes
and device plugins; docs/confidential.md lists them.
"""

from collections.abc import Mapping

from fedapi import names
from fedapi.crd.confidential import Confidential
from fedapi.crd.flclient import FLClientSpec
from fedapi.jsonvalue import Json
from fedapi.wire.attestation import Tee
from fedoperator.desired.pod import Mount

_GKE_LABEL = "cloud.google.com/gke-confidential-nodes-instance-type"
_GKE_TYPES: Mapping[Tee, str] = {"SEV-SNP": "SEV_SNP", "TDX": "TDX"}
_AKS_LABEL, _AKS_CLASS = "kubernetes.azure.com/kata-cc-isolation", "kata-cc-isolation"
_KATA_CLASSES: Mapping[Tee, str] = {"SEV-SNP": "kata-qemu-snp", "TDX": "kata-qemu-tdx"}
_KATA_INIT_DATA = "io.katacontainers.config.hypervisor.cc_init_data"
_KATA_KERNEL = "io.katacontainers.config.hypervisor.kernel_params"
_KATA_AGENT = "agent.guest_components_rest_api=all"  # without it the guest gives no evidence to its pods
_NITRO_LABEL, _NITRO_RESOURCE = "aws-nitro-enclaves-k8s-dp", "aws.ec2.nitro/nitro_enclaves"
_HUGE_PAGES = "hugepages-2Mi"


def node_selector(asked: Confidential | None) -> dict[str, str]:
    """Node labels that the pod asks for."""
    match asked.platform if asked else None:
        case "GKE":
            return {_GKE_LABEL: _GKE_TYPES[asked.type]} if asked else {}
        case "AKS":
            return {_AKS_LABEL: "true"}
        case "EKS":
            return {_NITRO_LABEL: "enabled"}
        case _:
            return {}


def annotations(asked: Confidential | None) -> dict[str, str]:
    """What the runtime of Confidential Containers is told."""
    if asked is None or asked.platform != "Kata":
        return {}
    return {_KATA_KERNEL: _KATA_AGENT} | ({_KATA_INIT_DATA: asked.init_data} if asked.init_data else {})


def pod_spec(asked: Confidential | None) -> Json:
    """The runtime class, as a part of the pod's spec."""
    if asked is None:
        return {}
    default = {"AKS": _AKS_CLASS, "Kata": _KATA_CLASSES.get(asked.type, "")}.get(asked.platform, "")
    name = asked.runtime_class_name or default
    return {"runtimeClassName": name} if name else {}


def devices(asked: Confidential | None) -> dict[str, str]:
    """Devices and huge pages of the container, as limits: the API server copies them into requests."""
    if asked is None or asked.platform != "EKS":
        return {}
    return {_NITRO_RESOURCE: "1"} | ({_HUGE_PAGES: asked.enclave_memory} if asked.enclave_memory else {})


def mounts(asked: Confidential | None) -> tuple[Mount, ...]:
    """The huge pages that an enclave's memory is made of."""
    if _HUGE_PAGES not in devices(asked):
        return ()
    return (Mount("hugepages", {"emptyDir": {"medium": "HugePages-2Mi"}}, "/dev/hugepages"),)


def hub_environment(asked: Confidential | None) -> dict[str, str]:
    """Of the aggregator."""
    if asked is None:
        return {}
    told = {names.ENV_TEE: asked.type, names.ENV_TEE_AGENT: asked.agent}
    return told | ({names.ENV_TEE_VERIFIER: asked.verifier.told().model_dump_json()} if asked.verifier else {})


def site_environment(site: FLClientSpec) -> dict[str, str]:
    """Of a site's training pods."""
    demand = site.requires.confidential if site.requires else None
    return {names.ENV_REQUIRES_CONFIDENTIAL: demand.told().model_dump_json()} if demand else {}
