"""Durations, quorums, seeds, tokens and canonical bytes: the small values that processes must agree on."""

import hashlib
import hmac

import pytest

from fedapi.duration import quorum_count, seconds
from fedapi.wire.job import TrainingSettings
from fedapi.wire.message import ObjectRef
from fedapi.wire.seeds import derived
from fedapi.wire.tokens import hkdf, job_key, site_token


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("250ms", 0.25)])
def test_durations(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "10", "ten minutes", "-5s", "1.5h"])
def test_what_is_no_duration_is_named(text):
    with pytest.raises(ValueError, match="write for example"):
        seconds(text)


@pytest.mark.parametrize(
    ("quorum", "selected", "count"),
    [(3, 4, 3), (9, 4, 9), ("100%", 4, 4), ("60%", 4, 3), ("50%", 4, 2), ("51%", 100, 51), ("1%", 3, 1)],
)
def test_a_percentage_rounds_up_and_a_count_stays(quorum, selected, count):
    assert quorum_count(quorum, selected) == count


def test_seeds_depend_on_everything_and_stay_the_same():
    assert derived(7, "train", "site-a", 3) == derived(7, "train", "site-a", 3)
    others = {derived(7, "train", "site-a", 3), derived(8, "train", "site-a", 3), derived(7, "train", "site-a", 4)}
    assert len(others) == 3
    assert all(0 <= seed < 2**63 for seed in others)


def test_hkdf_equals_rfc_5869_case_3():
    """Test case 3 of RFC 5869: empty salt and info."""
    assert hkdf(bytes([0x0B] * 22), b"", 42).hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


def test_tokens_differ_by_job_and_site():
    key = job_key(b"m" * 32, "uid-1")
    assert site_token(key, "a") == hmac.digest(key, b"site\0a", hashlib.sha256).hex()
    assert len({site_token(key, "a"), site_token(key, "b"), site_token(job_key(b"m" * 32, "uid-2"), "a")}) == 3


def test_canonical_bytes_do_not_depend_on_field_order():
    one = ObjectRef(key="k", sha256="0" * 64, size=1)
    two = ObjectRef.model_validate_json('{"size": 1, "sha256": "' + "0" * 64 + '", "key": "k"}')
    assert one.canonical() == two.canonical()
    assert one.digest() == hashlib.sha256(one.canonical()).hexdigest()


# What version 0.1 put into an order's `training`. Its trainers, which user images pin, refuse orders that say more.
KNOWN_TO_0_1 = {
    "epochs", "local_steps", "batch_size", "batch_per", "gradient_accumulation_steps", "mixed_precision",
    "learning_rate_scaling", "warmup_steps", "checkpoint_every_s", "optimizer",
}  # fmt: skip


def test_orders_say_nothing_new_to_older_trainers_unless_the_job_asks_for_it():
    plain, warn = TrainingSettings(), TrainingSettings(determinism="Warn")
    assert plain.model_dump().keys() == KNOWN_TO_0_1
    assert TrainingSettings.model_validate_json(plain.model_dump_json()) == plain
    assert warn.model_dump().keys() - KNOWN_TO_0_1 == {"determinism"}
    assert TrainingSettings.model_validate_json(warn.model_dump_json()) == warn
