"""Trusted environments that a job and a site may and may not ask for: (path, accepted, refused, words of the refusal)."""

TEE, NEED = "spec.aggregator.confidential", "spec.requires.confidential"
PEM = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
VERIFIER = {"url": "https://as.example.org:8080/attestation", "publicKey": PEM}
KATA, NITRO = (
    {"type": "SEV-SNP", "platform": "Kata"},
    {"type": "NitroEnclave", "platform": "EKS", "enclaveMemory": "2Gi"},
)
MEASURED = {"claim": "snp.measurement", "values": ["5a"]}
DEMAND = {"types": ["SEV-SNP"], "verifier": VERIFIER, "measurements": [MEASURED]}


def job(confidential, **storage):
    """The whole spec, for the rule between environment and storage."""
    return {
        "task": {"entrypoint": "a.b:c", "image": "i"},
        "rounds": 3,
        "aggregator": {"confidential": confidential},
        "storage": storage,
    }


SEALED = {"clientEncryption": {"enabled": True}}
OF_JOBS = [
    ("spec", job(KATA, **SEALED), job(KATA), ["aggregator.confidential", "set storage.clientEncryption.enabled: true"]),
    (
        "spec",
        job(KATA, s3={"bucket": "models"}),
        job(KATA, s3={"bucket": "models"}, clientEncryption={"enabled": False}),
        ["lie open"],
    ),
    (
        "spec",
        job(NITRO, **SEALED),
        job(NITRO | {"platform": "GKE"}, **SEALED),
        ["platform EKS goes with type NitroEnclave"],
    ),
    (
        "spec",
        job(NITRO | {"platform": "Other"}, **SEALED),
        job(KATA | {"platform": "EKS"}, **SEALED),
        ["EKS goes with type"],
    ),
    (
        "spec",
        job(KATA | {"platform": "AKS"}, **SEALED),
        job({"type": "TDX", "platform": "AKS"}, **SEALED),
        ["platform AKS runs Confidential Containers on SEV-SNP alone"],
    ),
    (
        "spec",
        job(NITRO, **SEALED),
        job(KATA | {"enclaveMemory": "2Gi"}, **SEALED),
        ["needs enclaveMemory", "no other takes it"],
    ),
    (
        "spec",
        job(KATA | {"initData": "H4sIAAAA"}, **SEALED),
        job(KATA | {"platform": "GKE", "initData": "H4sIAAAA"}, **SEALED),
        ["initData goes with platform Kata"],
    ),
    ("spec", job(KATA | {"type": "TDX"}, **SEALED), job(KATA | {"type": "SGX"}, **SEALED), [f"{TEE}.type", "SGX"]),
    *[
        ("spec", job(KATA | {"agent": good}, **SEALED), job(KATA | {"agent": bad}, **SEALED), [f"{TEE}.agent"])
        for good, bad in (
            ("http://localhost:8006/aa/evidence", "http://agent.example/aa/evidence"),
            ("unix:/run/agent.sock", "https://127.0.0.1:8006/"),
        )
    ],
    (
        "spec",
        job(KATA | {"verifier": VERIFIER}, **SEALED),
        job(KATA | {"verifier": {"url": VERIFIER["url"]}}, **SEALED),
        ["publicKey"],
    ),
]
OF_SITES = [
    (NEED, DEMAND, DEMAND | {"types": []}, [f"{NEED}.types"]),
    (NEED, DEMAND, DEMAND | {"measurements": []}, [f"{NEED}.measurements"]),
    (NEED, DEMAND, DEMAND | {"measurements": [{"claim": "snp.measurement", "values": []}]}, ["values"]),
    (NEED, DEMAND, DEMAND | {"measurements": [MEASURED, MEASURED]}, [f"{NEED}.measurements", "Duplicate"]),
    (NEED, DEMAND, DEMAND | {"measurements": [MEASURED | {"claim": "snp..x"}]}, ["claim"]),
    (NEED, DEMAND, DEMAND | {"verifier": VERIFIER | {"url": "http://as.example.org/"}}, ["verifier.url"]),
    (
        NEED,
        DEMAND | {"verifier": VERIFIER | {"caCertificates": CERTIFICATE, "policies": ["strict"]}},
        DEMAND | {"verifier": VERIFIER | {"publicKey": CERTIFICATE}},
        ["verifier.publicKey"],
    ),
]
