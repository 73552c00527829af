"""One message of each kind in the form of this version, and where its golden file is."""

from fedapi.wire.compression import Compression, Encoding
from fedapi.wire.download import Download
from fedapi.wire.encryptedsum import KeyDelivery, OpenedSum, SealedKey, SumRequest
from fedapi.wire.entrusted import EntrustAnswer, EntrustRequest, Recalled, RecallRequest
from fedapi.wire.job import JobConfig, StopRule
from fedapi.wire.message import Message, ObjectRef
from fedapi.wire.orders import Delta, Encoded, Encrypt, EvaluateOrder, InlineUpload, Reference, TrainOrder
from fedapi.wire.privacy import DPSGD, RecordPrivacy
from fedapi.wire.protocol import FEATURES, OLDEST_AT_SITE, PROTOCOL
from fedapi.wire.roster import RosterEntry
from fedapi.wire.secagg import (
    Advertisement,
    Consent,
    Delivery,
    Opening,
    Participants,
    Shares,
    SurvivorSet,
    Terms,
    UnmaskRequest,
)
from fedapi.wire.secureround import SecureAnswer, SecureOrder, SecureSaid, SecureSettings
from fedapi.wire.site import (
    Assignment,
    EvaluationReport,
    FailureReport,
    NextRequest,
    Receipt,
    Refusal,
    UploadGrant,
    UploadRequest,
)
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.training import Method, OptimizerSettings, TrainingSettings
from fedapi.wire.update import HandedUpdate, Payload, UpdateManifest

A, B = "a" * 64, "b" * 64
UID = "0b9ab7a2-6a3c-4b0e-9a5e-1f2d3c4b5a69"
KEY = f"updates/ns/heart-{UID}/oslo/client_oslo_round_7-{B}.safetensors"
UPDATE = ObjectRef(key=KEY, sha256=B, size=123)
CONTROL = UPDATE.model_copy(update={"key": KEY.replace(B, A), "sha256": A})
MODEL = Download(url="https://hub:8443/v1/blobs/models/x?exp=1", sha256=A, size=99, expires_at=1800.5)
TRAINING = TrainingSettings(
    epochs=None, local_steps=50, batch_size=16, batch_per="Rank", gradient_accumulation_steps=2,
    mixed_precision="BFloat16", learning_rate_scaling="Linear", warmup_steps=5, checkpoint_every_s=2.5,
    optimizer=OptimizerSettings(name="AdamW", learning_rate=0.001, weight_decay=0.01),
)  # fmt: skip
WARN = TRAINING.model_copy(update={"determinism": "Warn"})
SPEAKS = {"protocol": PROTOCOL, "oldest_protocol": OLDEST_AT_SITE, "features": FEATURES}
MANIFEST = UpdateManifest(
    job_uid=UID, round=7, attempt=2, client="oslo", base_sha256=A, samples=303, steps=50,
    payloads={"update": Payload(codec="None", object=UPDATE)}, metrics={"accuracy": 1.0, "train_loss": 0.25},
    training_s=12.5, nonce="n" * 32,
)  # fmt: skip
ENCRYPTED = Payload(object=UPDATE.model_copy(update={"key": f"{KEY}.enc"}), encryption="MLKEM768X25519")
ORDER = TrainOrder(round=7, attempt=2, model=MODEL, evaluate=True, deadline=3600.25, seed=5, training=WARN)

TO_HUB: dict[str, Message] = {
    "next": NextRequest(wait_s=20.0, **SPEAKS),
    "next-in-mid-work": NextRequest(wait_s=5.0, doing=(7, 2), **SPEAKS),
    "uploads": UploadRequest(round=7, attempt=2, sha256=B, size=123),
    "updates": HandedUpdate(body=MANIFEST),
    "evaluations": EvaluationReport(
        job_uid=UID, round=6, client="oslo", model_sha256=A, samples=60, metrics={"accuracy": 0.75}
    ),
    "failures": FailureReport(
        job_uid=UID, round=7, attempt=2, client="oslo", reason="TrainingDiverged", message="loss is nan"
    ),
}
TO_SITE: dict[str, Message] = {
    "train": Assignment(kind="Train", train=ORDER, committed=(6, 1), committed_sha256=B),
    "evaluate": Assignment(kind="Evaluate", evaluate=EvaluateOrder(round=7, model=MODEL, training=TRAINING)),
    "wait": Assignment(kind="Wait"),
    "drop": Assignment(kind="Drop"),
    "done": Assignment(kind="Done", committed=(7, 2), committed_sha256=B),
    "grant": UploadGrant(url="https://hub:8443/v1/blobs/updates/x?exp=2", expires_at=1800.5, object=UPDATE),
    "receipt": Receipt(duplicate=True),
    "refusal": Refusal(code="Incompatible", message="site 'oslo': it speaks protocol 9 to 9, this hub 1 to 2"),
}
# What 0.1 does not know at all.
INLINE_TO_HUB: dict[str, Message] = {
    "updates-inline": HandedUpdate(body=MANIFEST, content={"update": b"\x00\xfftensors"}),
    "updates-encrypted": HandedUpdate(body=MANIFEST.model_copy(update={"payloads": {"update": ENCRYPTED}})),
}
INLINE_TO_HUB |= {
    "updates-control": HandedUpdate(
        body=MANIFEST.model_copy(update={"payloads": {**MANIFEST.payloads, "control": Payload(object=CONTROL)}})
    ),
    "updates-encoded": HandedUpdate(
        body=MANIFEST.model_copy(update={"payloads": {"update": Payload(codec="TopK", object=UPDATE)}})
    ),
    "entrust": EntrustRequest(round=7, attempt=2, update_sha256=A, sha256=B, size=123, keep_last=2),
    "recall": RecallRequest(round=7, attempt=2, update_sha256=A),
}
INLINE_TO_HUB |= {
    "updates-of-private-records": HandedUpdate(
        body=MANIFEST.model_copy(update={"privacy": RecordPrivacy(epsilon=1.25, delta=1e-3)})
    ),
}
INLINE_TO_SITE: dict[str, Message] = {
    "train-private": Assignment(
        kind="Train",
        train=ORDER.model_copy(
            update={
                "training": TRAINING.model_copy(
                    update={"dp_sgd": DPSGD(max_grad_norm=1.0, target_epsilon=8.0, delta=1e-3, rounds=20)}
                )
            }
        ),
    ),
    "train-encrypted": Assignment(
        kind="Train",
        train=ORDER.model_copy(update={"encryption": Encrypt(kem="X25519", public_key=bytes(range(32)))}),
    ),
    "train-inline": Assignment(
        kind="Train",
        train=ORDER.model_copy(
            update={
                "model": MODEL.model_copy(update={"content": b"\x00\xffmodel"}),
                "inline": InlineUpload(max_bytes=65536, key=KEY.replace(B, "{sha256}")),
            }
        ),
    ),
}
INLINE_TO_SITE |= {
    "train-scaffold": Assignment(
        kind="Train",
        train=ORDER.model_copy(
            update={"training": TRAINING.model_copy(update={"method": Method(control_variates=4)}), "hub_state": MODEL}
        ),
    ),
    "train-fedprox": Assignment(
        kind="Train",
        train=ORDER.model_copy(
            update={"training": TRAINING.model_copy(update={"method": Method(proximal=0.01, keep_optimizer=True)})}
        ),
    ),
    "train-narrow": Assignment(
        kind="Train",
        train=ORDER.model_copy(update={"initial": MODEL, "training": TRAINING.model_copy(update={"model_width": 0.5})}),
    ),
    "train-taken-back": Assignment(kind="Train", train=ORDER, taken_back=True),
    "train-accepted": Assignment(kind="Train", train=ORDER, committed=(6, 1), accepted=(7, 1)),
    "train-fragments": Assignment(
        kind="Train",
        train=ORDER.model_copy(
            update={"training": TRAINING.model_copy(update={"method": Method(keep_optimizer=True, fragments=4)})}
        ),
    ),
    "train-partial": Assignment(kind="Train", train=ORDER.model_copy(update={"initial": MODEL})),
    "train-encoded": Assignment(
        kind="Train",
        train=ORDER.model_copy(update={"compression": Compression(codec="TopK", fraction=0.01, error_feedback=True)}),
    ),
    "train-download": Assignment(
        kind="Train",
        train=ORDER.model_copy(update={"encoded": Encoded(encoding=Encoding(codec="Int8"), base_sha256=A)}),
    ),
    "train-reference": Assignment(kind="Train", train=ORDER.model_copy(update={"reference": Reference(base_sha256=A)})),
    "train-delta": Assignment(
        kind="Train",
        train=ORDER.model_copy(
            update={
                "reference": Reference(
                    base_sha256=A, delta=Delta(of_sha256=B, encoding=Encoding(codec="Int4"), file=MODEL)
                )
            }
        ),
    ),
    "entrusted": EntrustAnswer(),
    "entrust-grant": EntrustAnswer(grant=TO_SITE["grant"]),
    "recalled": Recalled(round=7, attempt=2, update_sha256=A, state=MODEL),
}
K, SIGNED = bytes(range(32)), bytes(range(64))
MASKING_TERMS = Terms(
    job_uid=UID, round=7, attempt=2, base_sha256=A, roster={"bergen": K, "oslo": K[::-1], "tromso": bytes(32)},
    threshold=3, colluding=1, minimum_cohort=3, items=25, limit=16.0, order_sha256=B,
)  # fmt: skip
ADVERTISED = Advertisement(site="oslo", mask_key=K, share_key=K[::-1], seed_commitment=B, signature=SIGNED)
SAID = {"round": 7, "attempt": 2, "wait_s": 20.0, "signature": "A" * 86 + "==", "key_id": "0" * 32}
INLINE_TO_HUB |= {
    "updates-masked": HandedUpdate(
        body=MANIFEST.model_copy(update={"payloads": {"update": Payload(object=UPDATE, masked=True, clipped=3)}})
    ),
    "secure": SecureSaid(round=7, attempt=2),
    "secure-advertise": SecureSaid(advertisement=ADVERTISED, samples=303, **SAID),
    "secure-share": SecureSaid(shares=Shares(site="oslo", participants_sha256=A, sealed={"bergen": bytes(82)}), **SAID),
    "secure-consent": SecureSaid(consent=Consent(site="oslo", signature=SIGNED), **SAID),
    "secure-open": SecureSaid(opening=Opening(site="oslo", seeds={"oslo": bytes(33)}, mask_keys={}), **SAID),
}
INLINE_TO_SITE |= {
    "train-secure": Assignment(
        kind="Train", train=ORDER.model_copy(update={"secure": SecureOrder(terms=MASKING_TERMS, overflow="Clip")})
    ),
    "secure-share": SecureAnswer(
        step="Share", participants=Participants(advertisements=(ADVERTISED,), whole_samples=303)
    ),
    "secure-mask": SecureAnswer(
        step="Mask", delivery=Delivery(sharers=("bergen", "oslo"), sealed={"bergen": bytes(82)})
    ),
    "secure-consent": SecureAnswer(
        step="Consent",
        survivors=SurvivorSet(participants_sha256=A, sharers=("bergen", "oslo"), survivors={"bergen": A, "oslo": B}),
    ),
    "secure-open": SecureAnswer(
        step="Open",
        request=UnmaskRequest(
            seeds_of=("oslo",), mask_keys_of=("bergen",), consents=(Consent(site="oslo", signature=SIGNED),)
        ),
    ),
    "secure-over": SecureAnswer(step="Over"),
}
ENCRYPTING_TERMS = MASKING_TERMS.model_copy(
    update={"colluding": 0, "minimum_cohort": 2, "scheme": "CKKS", "earlier_makers": ("bergen",)}
)
ROWS = Download(url="https://hub:8443/v1/blobs/models/y?exp=1", sha256=B, size=65536, expires_at=1800.5)
INLINE_TO_HUB |= {
    "updates-of-an-encrypted-sum": HandedUpdate(
        body=MANIFEST.model_copy(
            update={"payloads": {"update": Payload(object=UPDATE, masked=True, clipped=3, tag=bytes(16))}}
        )
    ),
    "secure-key": SecureSaid(
        key=SealedKey(site="oslo", participants_sha256=A, sealed={"bergen": bytes(48)}, key=b"key"), **SAID
    ),
    "secure-numbers": SecureSaid(numbers=OpenedSum(site="oslo", sha256=B), **SAID),
}
INLINE_TO_SITE |= {
    "train-of-an-encrypted-sum": Assignment(
        kind="Train", train=ORDER.model_copy(update={"secure": SecureOrder(terms=ENCRYPTING_TERMS, overflow="Clip")})
    ),
    "secure-mask-by-a-key": SecureAnswer(
        step="Mask",
        participants=Participants(advertisements=(ADVERTISED,), whole_samples=303),
        key=KeyDelivery(maker="bergen", sealed=bytes(48), key=b"key"),
    ),
    "secure-open-an-encrypted-sum": SecureAnswer(
        step="Open",
        sum=SumRequest(consents=(Consent(site="oslo", signature=SIGNED),), tag=bytes(16)),
        encrypted=ROWS,
    ),
}
CONFIG = JobConfig(
    namespace="ns", name="heart", uid=UID, rounds=3, seed=5, per_round=2, policy="Random", quorum="50%",
    strategy=StrategySettings(name="FedAvg"), grace_after_quorum_s=5.0, training=TRAINING, image="i:1",
    stop=StopRule(metric="accuracy", target=0.9), store_uri="volume://c",
    roster=(RosterEntry(name="bergen", eligible=False, reason="Paused"), RosterEntry(name="oslo")),
)  # fmt: skip
ENCRYPTING = CONFIG.model_copy(
    update={
        "secure": SecureSettings(threshold=2, colluding=0, value_range=16.0, exchange_timeout_s=120.0, scheme="CKKS")
    }
)
