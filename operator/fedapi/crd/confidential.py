"""`spec.aggregator.confidential` of a FederatedJob, and `spec.requires.confidential` of an FLClient (requires.py): confidential computing.

What is rendered of it is in fedoperator.desired.confidential; evidence and its appraisal are in fedapi.wire, attestation and
appraisal. Fedloom was never run on such hardware: docs/confidential.md says what was tested in its place.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from fedapi.crd.fields import LIST_TYPE, Name, Part, Quantity, Short, listed_by, rule, rules
from fedapi.wire.attestation import Demand, Measurement, Tee, Verifier

AGENT = "http://127.0.0.1:8006/aa/evidence"  # of Confidential Containers' guest components
_PublicKey = Annotated[str, Field(max_length=4096, pattern=r"^-----BEGIN PUBLIC KEY-----\s")]
_Certificates = Annotated[str, Field(max_length=16384, pattern=r"^-----BEGIN CERTIFICATE-----\s")]


class AttestationVerifier(Part):
    """Who appraises evidence: the Attestation Service of Confidential Containers' Trustee, or what speaks as it does."""

    url: Annotated[str, Field(max_length=1024, pattern=r"^https://[^/@\s]+(/\S*)?$")] = Field(
        description="Its endpoint, for example https://as.example.org:8080/attestation."
    )
    public_key: _PublicKey = Field(
        description="PEM of the public key by which it signs its answers (EAR); others count for nothing."
    )
    ca_certificates: _Certificates | None = Field(
        None, description="PEM of the CA of its server's certificate. Absent: the roots of the image."
    )
    policies: Annotated[list[Short], Field(max_length=8, json_schema_extra={LIST_TYPE: "atomic"})] | None = Field(
        None, description="Names of its policies by which it appraises. Absent: its default."
    )

    def told(self) -> Verifier:
        """As the processes are told."""
        return Verifier(
            url=self.url, public_key=self.public_key, ca=self.ca_certificates, policies=tuple(self.policies or ())
        )


class Confidential(Part):
    """The trusted execution environment that the aggregator runs in, and who in it gives evidence."""

    type: Tee = Field(description="Kind of environment.")
    platform: Literal["GKE", "AKS", "EKS", "Kata", "Other"] = Field(
        description="What is asked of the cluster. GKE: Confidential nodes. AKS: Confidential Containers, kata-cc-isolation. EKS: "
        "nodes with Nitro Enclaves and their device plugin. Kata: the runtime classes of Confidential Containers. Other: nothing "
        "but what podTemplate and runtimeClassName ask for.",
    )
    runtime_class_name: Name | None = Field(
        None, description="Runtime class of the pod. Absent: that of the platform, where it has one."
    )
    init_data: Annotated[str, Field(min_length=1, max_length=65536, pattern=r"^[A-Za-z0-9+/]+=*$")] | None = Field(
        None,
        description="With platform Kata: the guest's init data (policy of its agent, addresses of its services), base64 of gzip, as "
        "Confidential Containers takes them. They are measured: a site may pin the claim init_data.",
    )
    enclave_memory: Quantity | None = Field(
        None, description="With type NitroEnclave: huge pages (2Mi) that the enclave gets, for example 2Gi."
    )
    agent: Annotated[
        str,
        Field(
            max_length=253,
            pattern=r"^(http://(127\.0\.0\.1|localhost):[0-9]{1,5}/[-A-Za-z0-9_./]*|unix:/[-A-Za-z0-9_./]+)$",
        ),
    ] = Field(
        AGENT,
        description="Where the guest's agent gives evidence: `GET …?runtime_data=TEXT` over HTTP to the pod's own address, or to a "
        "socket (`unix:/path`, whose path is /aa/evidence).",
    )
    verifier: AttestationVerifier | None = Field(
        None,
        description="By whom the aggregator has itself appraised before it serves, so that what is wrong shows in the job. Sites "
        "ask verifiers of their own, whatever is said here.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "(self.platform == 'EKS') == (self.type == 'NitroEnclave') || "
                "(self.platform == 'Other' && self.type == 'NitroEnclave')",
                "platform EKS goes with type NitroEnclave, and NitroEnclave with platform EKS or Other: set the two that fit",
                ".type",
            ),
            rule(
                "self.platform != 'AKS' || self.type == 'SEV-SNP'",
                "platform AKS runs Confidential Containers on SEV-SNP alone: set type: SEV-SNP, or platform: Other",
                ".type",
            ),
            rule(
                "(self.type == 'NitroEnclave') == has(self.enclaveMemory)",
                "type NitroEnclave needs enclaveMemory (for example 2Gi), and no other takes it",
                ".enclaveMemory",
            ),
            rule(
                "!has(self.initData) || self.platform == 'Kata'",
                "initData goes with platform Kata: remove it, or set platform: Kata",
                ".initData",
            ),
        )
    )


class Measured(Part):
    """A claim of the appraised evidence, and what it may be."""

    claim: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")] = Field(
        description="Its path below ear.veraison.annotated-evidence, for example snp.measurement, tdx.quote.body.mr_td or init_data."
    )
    values: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=253)]],
        Field(min_length=1, max_length=8, json_schema_extra={LIST_TYPE: "set"}),
    ] = Field(
        description="What it may be, exactly as the verifier writes it; of several the next version's beside this one's."
    )


class ConfidentialDemand(Part):
    """What an aggregator must prove to this site before the site works for it."""

    types: Annotated[list[Tee], Field(min_length=1, max_length=3, json_schema_extra={LIST_TYPE: "set"})] = Field(
        description="Kinds of environment that the site trusts."
    )
    verifier: AttestationVerifier = Field(description="Whom the site itself asks; it need not be the job's.")
    measurements: Annotated[
        list[Measured], Field(min_length=1, max_length=16, json_schema_extra=listed_by("claim"))
    ] = Field(description="What must run there: all of these claims.")

    def told(self) -> Demand:
        """As the site's trainer is told."""
        measured = tuple(Measurement(claim=each.claim, values=tuple(each.values)) for each in self.measurements)
        return Demand(tees=tuple(self.types), verifier=self.verifier.told(), measurements=measured)


SEALED_TO_THE_GUEST = rule(
    "!has(self.aggregator.confidential) || (has(self.storage.clientEncryption) && has(self.storage.clientEncryption.enabled) ? "
    "self.storage.clientEncryption.enabled : has(self.storage.s3) || has(self.storage.gcs) || has(self.storage.azure))",
    "aggregator.confidential protects updates that are encrypted to it, and without that they lie open in the store: set "
    "storage.clientEncryption.enabled: true",
    ".aggregator.confidential",
)
