"""What is asked of a bucket of S3, as JSON. Refresh with FEDLOOM_REFRESH_GOLDEN=1 and read the difference."""

import json
import os
from pathlib import Path

import pytest

from fedapi.wire.location import S3
from fedstore.care import comparing, s3policy
from fedstore.care.wanted import Wanted

HERE = Path(__file__).parent
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLES = {
    "principals": (
        "arn:aws:iam::111122223333:role/fedloom-aggregator",
        "arn:aws:iam::111122223333:role/fedloom-backup",
    ),
    "administrators": ("arn:aws:iam::111122223333:role/platform",),
}
CASES = {
    "plain": (S3("fedloom-models"), Wanted()),
    "amazon": (
        S3("fedloom-models", "hospital", "eu-central-1", kms_key=KEY),
        Wanted(**ROLES, kms_key=KEY, replicate_to="arn:aws:s3:::fedloom-copy", replication_role="arn:aws:iam::111122223333:role/copy"),
    ),
    "own-endpoint": (S3("fedloom-models", "hospital", endpoint="https://s3.example.com"), Wanted(**ROLES)),
}  # fmt: skip


def documents(place, wanted):
    return {
        "statements": s3policy.statements(place, wanted),
        "rules": s3policy.rules(place, wanted),
        "encryption": s3policy.encryption(wanted),
        "replication": s3policy.replication(place, wanted) if wanted.replicate_to else None,
    }


@pytest.mark.parametrize("case", CASES)
def test_documents(case):
    file = HERE / f"{case}.json"
    made = json.dumps(documents(*CASES[case]), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("FEDLOOM_REFRESH_GOLDEN"):
        file.write_text(made)
    assert file.read_text() == made


@pytest.mark.parametrize("case", CASES)
def test_names_of_statements_and_rules_are_their_own(case):
    place, wanted = CASES[case]
    for key, found in (("Sid", s3policy.statements(place, wanted)), ("ID", s3policy.rules(place, wanted))):
        names = [each[key] for each in found.values()]
        assert len(set(names)) == len(names)


def test_what_others_have_set_stays_and_ours_is_replaced():
    theirs, ours = {"Sid": "Theirs", "Effect": "Deny"}, {"Sid": "FedloomOwnTls", "Effect": "Deny"}
    once = s3policy.merged_policy({"Statement": [theirs, ours | {"Old": 1}]}, ours)
    assert once["Statement"] == [theirs, ours]
    assert s3policy.merged_policy({"Statement": theirs}, ours)["Statement"] == [theirs, ours]
    assert s3policy.merged_policy(None, ours)["Statement"] == [ours]
    rule = {"ID": "fedloom-updates"}
    assert s3policy.merged_rules([{"ID": "theirs"}, rule | {"Old": 1}], rule) == [{"ID": "theirs"}, rule]


@pytest.mark.parametrize(
    ("current", "wanted", "held"),
    [
        ({"a": 1, "more": 2}, {"a": 1}, True),
        ({"a": 2}, {"a": 1}, False),
        (None, {"a": 1}, False),
        ("s3:PutObject", ["s3:PutObject"], True),
        (["s3:PutObject"], "s3:PutObject", True),
        (["x", "y", "z"], ["z", "x"], True),
        (["x"], ["x", "y"], False),
        ([{"a": 1}, {"b": 2, "c": 3}], [{"b": 2}], True),
        ({"AWS": ["*"]}, "*", True),
        ({"AWS": ["arn:x"]}, "*", False),
        ("*", {"AWS": "*"}, True),
        ({"Days": 7}, {"Days": None}, True),
        ({}, {"Days": None}, False),
    ],
)
def test_a_setting_as_a_server_tells_it(current, wanted, held):
    assert comparing.holds(current, wanted) is held


def test_a_statement_that_lets_in_one_more_is_not_the_one_that_is_wanted():
    place, wanted = CASES["amazon"]
    for each in s3policy.statements(place, wanted).values():
        assert s3policy.stated({"Statement": [{"Sid": "Theirs"}, each]}, each)
        assert s3policy.stated({"Statement": [each | {"Sid": "Another"}]}, each), "by whatever name"
    both = s3policy.statements(place, wanted)["nobody else reads or writes"]
    (one,) = (
        each
        for what, each in s3policy.statements(place, Wanted(wanted.principals[:1], wanted.administrators)).items()
        if what == "nobody else reads or writes"
    )
    assert not s3policy.stated({"Statement": [both]}, one), "a role that was taken away still comes in"
    assert not s3policy.stated({"Statement": [one]}, both)


def test_what_is_set_up_for_another_prefix_is_known():
    place, wanted = CASES["amazon"]
    policy = {"Statement": [{"Sid": "Theirs", "Resource": "x"}, *s3policy.statements(place, wanted).values()]}
    rules = [{"ID": "theirs", "Filter": {"Prefix": "x"}}, *s3policy.rules(place, wanted).values()]
    assert s3policy.elsewhere(place, policy, rules) == ""
    assert s3policy.elsewhere(place, None, []) == ""
    for prefix in ("clinic", "", "hospital/ward"):
        other = S3("fedloom-models", prefix, "eu-central-1", kms_key=KEY)
        assert s3policy.elsewhere(other, policy, []) == "arn:aws:s3:::fedloom-models/hospital/*"
        assert s3policy.elsewhere(other, None, rules) == "arn:aws:s3:::fedloom-models/hospital/*"
