"""`fedloom storage init` and `check` on real servers: what they can is set and works, what they cannot is told."""

import contextlib
import json
import os
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from fedapi.wire import location
from fedstore import copying
from fedstore.care.s3 import S3Care
from fedstore.care.wanted import Wanted
from fedstore.errors import StoreDeniedError, UnfitStoreError
from fedstore.opening import open_store
from tests.commands import fedloom
from tests.servers import minio as minio_server
from tests.servers import moto, weed
from tests.unit.fedstore import test_history as rounds
from tests.waiting import until

ARN = "arn:aws:iam::000000000000:user"
EVERYTHING = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*"],"Resource":["arn:aws:s3:::*"]}]}'


TAKEN_BACK = ("policy: TLS alone", "policy: SSE-KMS alone", "policy: no write without a condition")  # by moto


def states(findings):
    return {each.what: each.state for each in findings}


@pytest.fixture
def own(tmp_path):
    """A SeaweedFS with keys of a KMS, two users with every right, and the key."""
    with moto.serving(tmp_path / "moto") as keys, weed.serving(tmp_path / "weed", kms=keys.endpoint) as server:
        with contextlib.closing(keys.client("kms")) as kms:
            server.key = kms.create_key()["KeyMetadata"]["KeyId"]
        server.users = {}
        with contextlib.closing(server.client("iam")) as iam:
            for name in ("aggregator", "stranger"):
                iam.create_user(UserName=name)
                iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=EVERYTHING)
                server.users[name] = iam.create_access_key(UserName=name)["AccessKey"]
        yield server


def test_a_bucket_is_set_up_and_then_keeps_everybody_else_out(own, tmp_path):
    place = own.place(kms_key=own.key, prefix="hospital")
    folder = own.credentials(tmp_path / "root")
    wanted = Wanted((f"{ARN}/aggregator",), (f"{ARN}/root",), own.key)
    care = S3Care(location.parsed(place), folder, wanted)
    bucket = location.parsed(place).bucket

    def opened(name, prefix="hospital"):
        key = own.users[name]
        credentials = own.credentials(tmp_path / name, key["AccessKeyId"], key["SecretAccessKey"])
        return open_store(own.place(bucket, prefix, own.key), credentials)

    until(lambda: opened("stranger").put_once("updates/before", b"1"), not_yet=(StoreDeniedError,))  # it may, before
    before = states(care.check())
    assert set(before.values()) <= {"missing", "kept", "cannot"}
    assert before["policy: TLS alone"] == "missing"
    done = states(care.init())
    lacking = {what for what, state in done.items() if state != "kept"}
    assert lacking == {"the policy is enforced", "superseded models become cold", "access is logged"}, done
    assert states(care.check()) == done | {"superseded models become cold": "missing"}
    (enforced,) = [each for each in care.check() if each.what == "the policy is enforced"]
    assert enforced.remark == "the server takes writes without a condition", "the key and the principals it knows"

    store = opened("aggregator")
    store.put_once("models/a", b"model")
    assert store.get("models/a") == b"model"
    assert list(store.keys("models/")) == ["models/a"]
    with store.writer("models/large") as writer:
        writer.write(bytes(9 << 20))
        assert writer.finish().size == 9 << 20, "in parts, too"
    for use in (
        lambda: opened("stranger").get("models/a"),
        lambda: opened("stranger").put_once("models/b", b"1"),
        lambda: list(opened("stranger").keys("")),
        lambda: opened("stranger").delete("models/a"),
    ):
        with pytest.raises(StoreDeniedError):
            use()
    key = own.users["aggregator"]
    with contextlib.closing(own.client("s3", key["AccessKeyId"], key["SecretAccessKey"])) as client:
        with pytest.raises(ClientError, match="AccessDenied"):
            client.put_object(Bucket=bucket, Key="hospital/models/c", Body=b"", ServerSideEncryption="AES256")
        store.delete("models/a")
        (version,) = client.list_object_versions(Bucket=bucket, Prefix="hospital/models/a").get("Versions", ())
        with pytest.raises(ClientError, match="AccessDenied"):
            client.delete_object(Bucket=bucket, Key="hospital/models/a", VersionId=version["VersionId"])
        told = client.get_object(Bucket=bucket, Key="hospital/models/a", VersionId=version["VersionId"])
        assert told["Body"].read() == b"model", "what is deleted can be brought back"
        assert told["ServerSideEncryption"] == "aws:kms"


def test_an_aggregator_reads_the_settings_with_the_rights_that_it_has(own, tmp_path):
    """Without a right to a setting it is unknown, never missing; nothing is written, whatever the rights."""
    place = location.parsed(own.place(kms_key=own.key, prefix="hospital"))
    least = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::*"]}],
    }
    with contextlib.closing(own.client("iam")) as iam:
        iam.put_user_policy(UserName="stranger", PolicyName="all", PolicyDocument=json.dumps(least))
    keys = {name: (key["AccessKeyId"], key["SecretAccessKey"]) for name, key in own.users.items()}
    wanted = Wanted.by_whoever_set_it(own.key, ())

    def found(name):
        care = S3Care(place, own.credentials(tmp_path / name, *keys[name]), wanted)
        return states(care.check(by_writing=False))

    until(lambda: {what for what, state in found("stranger").items() if state != "unknown"} == {"access is logged"})
    care = Wanted((f"{ARN}/aggregator",), (f"{ARN}/root",), own.key, updates_days=77)
    done = states(S3Care(place, own.credentials(tmp_path / "root"), care).init())
    assert done["policy: aggregators and backups see the settings"] == "kept"
    lacking = {what for what, state in found("aggregator").items() if state != "kept"}
    assert lacking == {"superseded models become cold", "access is logged"}, "whichever days somebody has set"
    with contextlib.closing(own.client()) as client:
        assert not client.list_objects_v2(Bucket=place.bucket, Prefix="hospital/").get("Contents")


def test_what_others_have_set_stays(own, tmp_path):
    place = location.parsed(own.place(prefix="hospital"))
    theirs = {
        "Sid": "Theirs", "Effect": "Deny", "Principal": "*", "Action": ["s3:DeleteObject"],
        "Resource": [f"arn:aws:s3:::{place.bucket}/theirs/*"],
    }  # fmt: skip
    rule = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "theirs/"}, "Expiration": {"Days": 3}}
    with contextlib.closing(own.client()) as client:
        document = json.dumps({"Version": "2012-10-17", "Statement": [theirs]})
        client.put_bucket_policy(Bucket=place.bucket, Policy=document)
        client.put_bucket_lifecycle_configuration(Bucket=place.bucket, LifecycleConfiguration={"Rules": [rule]})
        for _ in range(2):
            list(S3Care(place, own.credentials(tmp_path / "c"), Wanted(kms_key=own.key)).init())
        policy = json.loads(client.get_bucket_policy(Bucket=place.bucket)["Policy"])
        rules = client.get_bucket_lifecycle_configuration(Bucket=place.bucket)["Rules"]
    sids = [each["Sid"] for each in policy["Statement"]]
    assert sids.count("Theirs") == 1
    assert len(sids) == len(set(sids)), "twice the same changes nothing"
    assert "theirs" in [each["ID"] for each in rules]


def test_a_bucket_that_is_set_up_for_another_prefix_loses_nothing(own, tmp_path):
    place, folder = location.parsed(own.place(prefix="hospital")), own.credentials(tmp_path / "c")
    care = Wanted((f"{ARN}/aggregator",), (f"{ARN}/root",), own.key)
    list(S3Care(place, folder, care).init())
    with contextlib.closing(own.client()) as client:
        before = client.get_bucket_policy(Bucket=place.bucket)["Policy"]
        with pytest.raises(UnfitStoreError, match=f"set up for arn:aws:s3:::{place.bucket}/hospital/"):
            list(S3Care(replace(place, prefix="clinic"), folder, care).init())
        assert client.get_bucket_policy(Bucket=place.bucket)["Policy"] == before
    fewer = S3Care(place, folder, replace(care, principals=(f"{ARN}/stranger",)))
    assert "nobody else reads or writes" in {
        each.what.removeprefix("policy: ") for each in fewer.check() if each.state == "missing"
    }
    assert states(fewer.init())["policy: nobody else reads or writes"] == "kept"
    with contextlib.closing(own.client()) as client:
        assert "user/aggregator" not in client.get_bucket_policy(Bucket=place.bucket)["Policy"]


def test_minio_has_a_lifecycle_and_no_policy_that_binds(minio, tmp_path):
    place = location.parsed(minio.place(kms_key=minio_server.KMS_KEY))
    care = S3Care(place, minio.credentials(tmp_path / "c"), Wanted(kms_key=minio_server.KMS_KEY))
    done = states(care.init())
    kept = {"encrypted by default (SSE-KMS)", "versions are kept", "updates expire", "deleted versions go"}
    assert {what for what in kept if done[what] == "kept"} == kept
    assert done["no public access"] == "cannot"
    (enforced,) = [each for each in care.check() if each.what == "the policy is enforced"]
    assert enforced.state == "missing"
    with contextlib.closing(minio.client()) as client:
        rules = client.get_bucket_lifecycle_configuration(Bucket=place.bucket)["Rules"]
    assert {"fedloom-updates", "fedloom-noncurrent"} <= {each["ID"] for each in rules}


def test_a_cold_class_and_a_replica_where_a_server_has_them(moto, tmp_path):
    """moto takes what Amazon does. It judges no conditions, so a statement denies all: such a bucket would be lost."""
    place = location.parsed(moto.place(prefix="hospital"))
    wanted = Wanted(
        replicate_to="arn:aws:s3:::copy", replication_role="arn:aws:iam::123456789012:role/copy", regions=("us-east-1",)
    )
    care = S3Care(place, moto.credentials(tmp_path / "c"), wanted)
    done = states(care.init())
    lacking = {what for what, state in done.items() if state != "kept"}
    assert lacking == {*TAKEN_BACK, "the policy is enforced", "access is logged"}
    again = {each.what: each.remark for each in care.init()}
    assert all("denies writes as Fedloom makes them, so it was taken back" in again[what] for what in TAKEN_BACK)
    open_store(place.text(), tmp_path / "c").put_once("models/a", b"1")
    with contextlib.closing(moto.client()) as client:
        (cold,) = [
            rule
            for rule in client.get_bucket_lifecycle_configuration(Bucket=place.bucket)["Rules"]
            if rule["ID"] == "fedloom-cold-models"
        ]
    assert cold["Filter"]["And"] == {"Prefix": "hospital/models/", "Tags": [{"Key": "fedloom-cold", "Value": "yes"}]}
    other = S3Care(place, tmp_path / "c", Wanted(regions=("eu-central-1",)))
    (region,) = [each for each in other.check() if each.what == "in an allowed region"]
    assert region.state == "missing"
    assert region.told == "it is in us-east-1: make a bucket in one of eu-central-1", "and init cannot move it"


def test_replication_that_others_have_set_stays(moto, tmp_path):
    place = location.parsed(moto.place(prefix="hospital"))
    role = "arn:aws:iam::123456789012:role/copy"
    theirs = {
        "ID": "audit", "Status": "Enabled", "Priority": 1, "Filter": {"Prefix": "audit/"},
        "DeleteMarkerReplication": {"Status": "Disabled"}, "Destination": {"Bucket": "arn:aws:s3:::audit"},
    }  # fmt: skip
    with contextlib.closing(moto.client()) as client:
        client.put_bucket_versioning(Bucket=place.bucket, VersioningConfiguration={"Status": "Enabled"})
        client.put_bucket_replication(Bucket=place.bucket, ReplicationConfiguration={"Role": role, "Rules": [theirs]})
        wanted = Wanted(replicate_to="arn:aws:s3:::copy", replication_role=role)
        done = {each.what: each for each in S3Care(place, moto.credentials(tmp_path / "c"), wanted).init()}
        (kept,) = client.get_bucket_replication(Bucket=place.bucket)["ReplicationConfiguration"]["Rules"]
    assert (kept["ID"], kept["Destination"]["Bucket"]) == ("audit", "arn:aws:s3:::audit")
    assert done["replicated"].state == "missing"
    assert "rules of others (audit)" in done["replicated"].told


def storage(*words, environment=None):
    left = {name: value for name, value in os.environ.items() if environment is None or not name.startswith("AWS_")}
    return fedloom("storage", *words, env=left | (environment or {}), check=False)


def test_the_commands_tell_in_a_table_or_json_and_by_their_code(moto, tmp_path):
    place, folder = moto.place(), moto.credentials(tmp_path / "c")
    where = (place, "--credentials", str(folder))
    found = storage("check", *where, "--json")
    assert found.returncode == 1
    told = {each["what"]: each["state"] for each in json.loads(found.stdout)["findings"]}
    assert told["versions are kept"] == "missing"
    lacking = ("the policy is enforced", "access is logged", *TAKEN_BACK)
    allowed = [word for each in lacking for word in ("--may-lack", each)]
    done = storage("init", *where, *allowed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "versions are kept" in done.stdout
    assert "was set" in done.stdout
    assert storage("check", *where, *allowed).returncode == 0
    assert storage("check", *where).returncode == 1
    unknown = storage("check", *where, *allowed, "--may-lack", "TLS")
    assert unknown.returncode == 1
    assert "versions are kept" in unknown.stdout, "what was found is told all the same"
    assert "--may-lack 'TLS' is not one of" in unknown.stderr


@pytest.mark.parametrize("kind", ["seaweedfs", "minio", "moto"])
def test_superseded_models_are_marked_and_a_rollback_takes_the_mark_off(kind, request, tmp_path):
    server = request.getfixturevalue(kind)
    uid = "0b5c1f9e-0000-4000-8000-000000000001"
    hub = rounds.Hub(rounds.job(rounds.SITES, rounds=6).model_copy(update={"uid": uid}))
    rounds.run(hub)
    layout = hub.state.layout
    place, folder = server.place(prefix="hospital"), server.credentials(tmp_path / "c")
    bucket = location.parsed(place).bucket
    store = open_store(place, folder)
    assert [step.how for step in copying.copied(hub.store, store, layout)].count("was there") == 0

    def marked(client):
        found = set()
        for key in store.keys(f"{layout.models()}/"):
            tags = client.get_object_tagging(Bucket=bucket, Key=f"hospital/{key}")["TagSet"]
            found |= {int(key.rpartition("/")[2][:6])} if {"Key": "fedloom-cold", "Value": "yes"} in tags else set()
        return found

    with contextlib.closing(server.client()) as client:
        first = next(iter(store.keys(f"{layout.models()}/")))
        theirs = {"Key": "owner", "Value": "ward"}
        both = [theirs, {"Key": "fedloom-cold", "Value": "yes"}]  # round 0 is needed: marked by an older rule
        client.put_object_tagging(Bucket=bucket, Key=f"hospital/{first}", Tagging={"TagSet": both})
        done = storage("age", place, "--credentials", str(folder))
        assert done.returncode == 0, done.stderr
        assert marked(client) == {1, 2, 3, 4}
        assert client.get_object_tagging(Bucket=bucket, Key=f"hospital/{first}")["TagSet"] == [theirs]
    again = storage("age", place, "--credentials", str(folder))
    assert again.stdout.splitlines()[1].split() == [f"{layout.namespace}/{layout.name}", uid, "4", "3", "0"], (
        "twice changes nothing"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("/var/lib/store",), "only buckets of S3, Google and Azure"),
        (("az://account/models", "--cold-class", "Archive"), "Archive is not read at once"),
        (("gs://models", "--replicate-to", "arn:x"), "--replicate-to is for S3"),
        (("s3://",), "names no store"),
        (("s3://b/p?kms-key=1234abcd",), "the key's ARN"),
        (("s3://b/p", "--principal", "arn:x"), "--administrator"),
        (("s3://b/p", "--replicate-to", "arn:x"), "--replication-role"),
    ],
)
def test_what_would_lock_everybody_out_or_is_no_bucket_is_refused(words, told):
    done = storage("init", *words)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr


def test_a_server_that_is_away_and_credentials_that_are_none_are_named(moto, tmp_path):
    folder = moto.credentials(tmp_path / "c")
    away = storage("check", "s3://b/p?endpoint=http://127.0.0.1:9", "--credentials", str(folder))
    assert (away.returncode, away.stderr.count("\n")) == (1, 1), away.stderr
    assert "127.0.0.1:9" in away.stderr
    wrong = moto.endpoint.replace("http://", "s3://b/p?endpoint=http://")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        (folder / name).unlink()
    alone = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    none = storage("check", wrong, "--credentials", str(folder), environment=alone)
    assert none.returncode == 1
    assert f"no credentials in the folder {folder}" in none.stderr


def test_a_bucket_that_is_not_there_is_named(seaweedfs, tmp_path):
    folder = seaweedfs.credentials(tmp_path / "c")
    absent = seaweedfs.place("no-such-bucket")
    done = storage("check", absent, "--credentials", str(folder))
    assert done.returncode == 1
    assert "there is no such bucket" in done.stderr
