"""The documents of a bucket of S3: policy, lifecycle, encryption, public access. Pure; a golden test has each.

Statements and rules of Fedloom's have names that begin with FedloomOwn and fedloom-; those of others stay. Requests
without an encryption header get the bucket's default; what is denied is another one than that. A write must be conditional
(s3:if-none-match or s3:if-match), so nothing is replaced unseen; parts of an upload carry no condition, their completion does.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from fedapi.crd.job_status import Topic
from fedapi.wire.location import S3
from fedstore.care.comparing import holds
from fedstore.care.wanted import Wanted

Json = dict[str, Any]
SID, RULE = "FedloomOwn", "fedloom-"
TOPICS: Mapping[str, Topic] = {  # of statements; the others are about access
    "TLS alone": "Transport", "SSE-KMS alone": "Encryption", "this key alone": "Encryption"
}  # fmt: skip
COLD_TAG = "fedloom-cold"  # on models that are neither HEAD's nor the best: "yes"
_OBJECTS = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
_VERSIONS = ["s3:GetObjectVersion", "s3:DeleteObjectVersion"]
_TAGS = ["s3:GetObjectTagging", "s3:PutObjectTagging"]
_LISTS = ["s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:GetBucketLocation"]
_SETTINGS = [
    "s3:GetBucketPublicAccessBlock", "s3:GetBucketOwnershipControls", "s3:GetEncryptionConfiguration",
    "s3:GetBucketVersioning", "s3:GetBucketPolicy", "s3:GetLifecycleConfiguration", "s3:GetReplicationConfiguration",
    "s3:GetBucketLogging",
]  # fmt: skip
PUBLIC_ACCESS = {
    "BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True
}  # fmt: skip
OWNERSHIP = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}


def statements(place: S3, wanted: Wanted) -> dict[str, Json]:
    """Of the bucket's policy, by what each is for."""
    bucket, objects = f"arn:aws:s3:::{place.bucket}", _arn(place, "*")
    unconditional = {
        "Null": {"s3:if-none-match": "true", "s3:if-match": "true"},
        "Bool": {"s3:ObjectCreationOperation": "true"},
    }
    tls, header = {"Bool": {"aws:SecureTransport": "false"}}, "s3:x-amz-server-side-encryption"
    return {
        "TLS alone": _deny("Tls", "s3:*", [bucket, f"{bucket}/*"], tls),
        "SSE-KMS alone": _deny("Encryption", "s3:PutObject", objects, _other(header, "aws:kms")),
        **(
            {
                "this key alone": _deny(
                    "Key", "s3:PutObject", objects, _other(f"{header}-aws-kms-key-id", wanted.kms_key)
                )
            }
            if wanted.kms_key
            else {}
        ),
        "no write without a condition": _deny("Conditional", "s3:PutObject", objects, unconditional),
        **_principals(place, wanted),
    }


def merged_policy(current: Json | None, ours: Json) -> Json:
    """A policy with one statement of ours in the place of its former self; the others, and other people's, stay."""
    found = (current or {}).get("Statement") or []
    found = [found] if isinstance(found, dict) else found
    kept = [each for each in found if each.get("Sid") != ours["Sid"]]
    return {"Version": "2012-10-17", "Statement": [*kept, ours]}


def stated(current: Json | None, ours: Json) -> bool:
    """Whether a policy has this statement, by whatever name, with nothing more in it: one more name among those that it lets in is another."""
    ours = _unnamed(ours)
    found = (current or {}).get("Statement") or []
    told = [_unnamed(each) for each in ([found] if isinstance(found, dict) else found)]
    return any(holds(each, ours) and holds(ours, each) for each in told)


def _unnamed(statement: Json) -> Json:
    return {name: value for name, value in statement.items() if name != "Sid"}


def elsewhere(place: S3, policy: Json | None, lifecycle: Iterable[Json]) -> str:
    """What statements and rules of ours are about another prefix; empty: none. Setting this one up would undo that."""
    bucket = f"arn:aws:s3:::{place.bucket}"
    about = {bucket, f"{bucket}/*", _arn(place, "*")}
    for each in (policy or {}).get("Statement") or []:
        resources = each.get("Resource", []) if str(each.get("Sid", "")).startswith(SID) else []
        for resource in [resources] if isinstance(resources, str) else resources:
            if resource not in about:
                return str(resource)
    for rule in lifecycle:
        chosen = rule.get("Filter", rule)
        prefix = chosen.get("And", chosen).get("Prefix")
        mine = {None, *(_key_of(place, below) for below in ("", "models/", "updates/"))}
        if str(rule.get("ID", "")).startswith(RULE) and prefix not in mine:
            return f"{bucket}/{prefix}*"
    return ""


def rules(place: S3, wanted: Wanted) -> dict[str, Json]:
    """Of the lifecycle, by what each is for. Models become cold by a tag, not by age alone: HEAD's and the best never have it."""
    chosen = {"Prefix": _key_of(place, "models/"), "Tags": [{"Key": COLD_TAG, "Value": "yes"}]}
    move = {"Days": wanted.cold_after_days, "StorageClass": wanted.cold_class}
    return {
        "broken uploads are removed": _lifecycle(
            "uploads", {"Prefix": _key_of(place, "")}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}
        ),
        "updates expire": _lifecycle(
            "updates", {"Prefix": _key_of(place, "updates/")}, Expiration={"Days": wanted.updates_days}
        ),
        "deleted versions go": _lifecycle(
            "noncurrent",
            {"Prefix": _key_of(place, "")},
            NoncurrentVersionExpiration={"NoncurrentDays": wanted.noncurrent_days},
        ),
        "superseded models become cold": _lifecycle("cold-models", {"And": chosen}, Transitions=[move]),
    }


def merged_rules(current: Iterable[Json], ours: Json) -> list[Json]:
    """A lifecycle with one rule of ours in the place of its former self."""
    return [*(rule for rule in current if rule.get("ID") != ours["ID"]), ours]


def encryption(wanted: Wanted) -> Json:
    """The default for requests that ask for nothing."""
    chosen = {"SSEAlgorithm": "aws:kms"} | ({"KMSMasterKeyID": wanted.kms_key} if wanted.kms_key else {})
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": chosen, "BucketKeyEnabled": True}]}


def replication(place: S3, wanted: Wanted) -> Json:
    """Everything below the prefix to another bucket, deletions aside."""
    rule = {
        "ID": f"{RULE}replica",
        "Status": "Enabled",
        "Priority": 1,
        "Filter": {"Prefix": _key_of(place, "")},
        "DeleteMarkerReplication": {"Status": "Disabled"},
        "SourceSelectionCriteria": {"SseKmsEncryptedObjects": {"Status": "Enabled"}},
        "Destination": {"Bucket": wanted.replicate_to},
    }
    return {"Role": wanted.replication_role, "Rules": [rule]}


def replication_of_others(current: Json) -> list[str]:
    """Names of its rules that are not Fedloom's."""
    return [str(rule.get("ID", "")) for rule in current.get("Rules") or () if rule.get("ID") != f"{RULE}replica"]


def _lifecycle(name: str, chosen: Json, **what: Any) -> Json:
    return {"ID": f"{RULE}{name}", "Status": "Enabled", "Filter": chosen, **what}


def _key_of(place: S3, below: str) -> str:
    return f"{place.prefix}/{below}" if place.prefix else below


def _arn(place: S3, below: str) -> str:
    return f"arn:aws:s3:::{place.bucket}/{_key_of(place, below)}"


def _deny(name: str, action: str | list[str], resource: str | list[str], condition: Json) -> Json:
    return {
        "Sid": f"{SID}{name}",
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": resource,
        "Condition": condition,
    }


def _other(header: str, value: str) -> Json:
    """Where the header is there, and says something else. (Not all servers know …IfExists.)"""
    return {"Null": {header: "false"}, "StringNotEquals": {header: value}}


def _principals(place: S3, wanted: Wanted) -> dict[str, Json]:
    """Who may come in, and remove for good.

    An endpoint of one's own knows users by aws:username, and not aws:PrincipalArn; with Amazon the latter is right,
    because the sessions of a role have no user name.
    """
    if not wanted.principals:
        return {}
    bucket, objects = f"arn:aws:s3:::{place.bucket}", _arn(place, "*")
    inside, above = list(wanted.principals), [*wanted.principals, *wanted.administrators]
    return {
        "aggregators and backups read and write": _allow("Objects", inside, [*_OBJECTS, *_TAGS], objects),
        "aggregators and backups list": _allow("Lists", inside, _LISTS, bucket),
        "aggregators and backups see the settings": _allow("Settings", inside, _SETTINGS, bucket),
        "nobody else reads or writes": _except("Strangers", place, above, [*_OBJECTS, *_VERSIONS, *_TAGS], objects),
        "nobody else lists": _except("Lists", place, above, ["s3:ListBucket", "s3:ListBucketVersions"], bucket),
        "administrators alone delete for good": _except(
            "Versions", place, list(wanted.administrators), ["s3:DeleteObjectVersion"], objects
        ),
    }


def _allow(name: str, who: list[str], action: list[str], resource: str) -> Json:
    return {
        "Sid": f"{SID}Allow{name}",
        "Effect": "Allow",
        "Principal": {"AWS": who},
        "Action": action,
        "Resource": resource,
    }


def _except(name: str, place: S3, who: list[str], action: list[str], resource: str) -> Json:
    """Denied to all but these."""
    denied: Json = {"Sid": f"{SID}Deny{name}", "Effect": "Deny", "Action": action, "Resource": resource}
    if not who:
        return denied | {"Principal": "*"}
    if place.endpoint:
        users = [arn.rpartition("/")[2] for arn in who]
        return denied | {"Principal": "*", "Condition": {"StringNotEquals": {"aws:username": users}}}
    return denied | {"Principal": "*", "Condition": {"ArnNotLike": {"aws:PrincipalArn": who}}}
