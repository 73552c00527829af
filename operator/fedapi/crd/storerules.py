"""Rules between the places of a job's store and of its backups: apart, in allowed regions, with one identity. Part of FederatedJobSpec."""

from fedapi.crd.fields import rule


def _both(cloud: str) -> str:
    """CEL: store and backup are both buckets of this cloud."""
    return f"has(self.storage.{cloud}) && has(self.backup) && has(self.backup.destination.{cloud})"


def _apart(cloud: str, *fields: str) -> dict[str, str]:
    """A backup is never in the bucket whose loss it is for."""
    places = [[f"{of}.{cloud}.{field}" for of in ("self.storage", "self.backup.destination")] for field in fields]
    differ = (f"(has({a}) ? {a} : '') != (has({b}) ? {b} : '')" for a, b in places)
    return rule(
        f"!({_both(cloud)}) || {' || '.join(differ)}",
        f"backup.destination.{cloud} is where storage.{cloud} is, and would be lost with it: name another "
        f"{'container' if cloud == 'azure' else 'bucket'}",
        f".backup.destination.{cloud}",
    )


def _one_identity(cloud: str, field: str, other: str) -> dict[str, str]:
    """The pods of a backup, or of a restore, have one identity, for the store that they read and the store that they write."""
    parent, place = other.split(".", maxsplit=1)[0], f"{other}.{cloud}"
    a, b = f"self.storage.{cloud}", f"self.{place}"
    both = f"has({a}) && has(self.{parent}) && has({b}) && has({a}.{field}) && has({b}.{field})"
    return rule(
        f"!({both}) || {a}.{field} == {b}.{field}",
        f"{field} of {place} is not that of storage.{cloud}, and a pod has one identity: give both the "
        "same, or one of them a credentialsSecretRef",
        f".{place}.{field}",
    )


def _resident(place: str, cloud: str) -> dict[str, str]:
    """What the manifest says of a bucket's region; what the bucket itself says is asked by who opens it."""
    there, bucket = f"has(self.storage.{cloud})", f"self.{place}.{cloud}"
    if place != "storage":
        there = f"has(self.backup) && has({bucket})"
    return rule(
        f"!has(self.storage.residency) || !({there}) || "
        f"(has({bucket}.region) && {bucket}.region in self.storage.residency)",
        f"{place}.{cloud}.region is not one of storage.residency: name a bucket in one of these regions, and its region",
        f".{place}.{cloud}",
    )


APART_AND_RESIDENT = (
    _apart("s3", "bucket", "endpoint"),
    _apart("gcs", "bucket", "endpoint"),
    _apart("azure", "account", "container", "endpoint"),
    *(
        _one_identity(cloud, field, other)
        for other in ("backup.destination", "restoreFrom.source")
        for cloud, field in (("s3", "roleARN"), ("gcs", "serviceAccount"), ("azure", "clientID"))
    ),
    *(_resident(place, cloud) for place in ("storage", "backup.destination") for cloud in ("s3", "gcs", "azure")),
)
