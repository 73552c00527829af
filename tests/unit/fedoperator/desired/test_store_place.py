"""What a pod is told and given of its stores, and as whom it acts in a cloud."""

import pytest

from fedapi.crd.storage import S3, Azure, Gcs
from fedoperator.desired import store_place as place
from tests.unit.fedoperator import samples as s

SECRET = {"name": "fedloom-store-a"}
ROLE = "arn:aws:iam::123456789012:role/fedloom"
GSA = "fedloom@p.iam.gserviceaccount.com"
CLIENT = "00000000-0000-0000-0000-000000000001"


def test_a_volume_is_a_path_and_a_claim():
    assert place.environment(place.STORE, None) == {"FEDLOOM_STORE": "/var/lib/fedloom/store"}
    (mount,) = place.mounts(place.STORE, None, "heart-store-1", read_only=True)
    assert mount.volume() == {"name": "store", "persistentVolumeClaim": {"claimName": "heart-store-1"}}
    assert mount.volume_mount()["readOnly"] is True


def test_a_bucket_is_its_text_and_a_folder_of_credentials_that_only_the_pods_user_reads():
    bucket = S3(bucket="models", region="eu-central-1", credentialsSecretRef=SECRET)
    assert place.environment(place.BACKUP, bucket) == {
        "FEDLOOM_BACKUP_STORE": "s3://models?region=eu-central-1",
        "FEDLOOM_BACKUP_CREDENTIALS_DIR": "/etc/fedloom/backup-credentials",
    }
    (mount,) = place.mounts(place.BACKUP, bucket, "")
    assert mount.volume()["secret"] == {"secretName": "fedloom-store-a", "defaultMode": 0o440}
    assert mount.read_only


@pytest.mark.parametrize(
    "bucket", [S3(bucket="models", roleARN=ROLE), Gcs(bucket="models"), Azure(account="abc", container="abc")]
)
def test_without_a_secret_nothing_is_mounted(bucket):
    assert place.mounts(place.STORE, bucket, "") == ()
    assert list(place.environment(place.STORE, bucket)) == ["FEDLOOM_STORE"]


@pytest.mark.parametrize(
    ("bucket", "text"),
    [
        (None, "volume://claim"),
        (S3(bucket="models", prefix="a", region="r", endpoint="https://e"), "s3://models/a"),
        (Gcs(bucket="models"), "gs://models"),
        (Azure(account="hospital", container="models", prefix="a"), "az://hospital/models/a"),
    ],
)
def test_the_uri_of_what_is_stored_names_no_option(bucket, text):
    assert place.uri(bucket, "claim") == text


def test_identities_of_clouds_become_annotations_and_azures_pods_a_label():
    buckets = (S3(bucket="models", roleARN=ROLE), None, Azure(account="abc", container="abc", clientID=CLIENT))
    assert place.identities(buckets) == {
        "eks.amazonaws.com/role-arn": ROLE,
        "azure.workload.identity/client-id": CLIENT,
    }
    assert place.identities((Gcs(bucket="models", serviceAccount=GSA),)) == {"iam.gke.io/gcp-service-account": GSA}
    assert place.pod_labels(buckets) == {"azure.workload.identity/use": "true"}
    assert place.pod_labels((S3(bucket="models", roleARN=ROLE),)) == {}


def test_pods_of_the_hub_stay_in_the_regions_of_residency():
    assert place.affinity(s.job().spec) == {}
    spec = s.job(storage={"residency": ["eu-central-1"]}).spec
    (term,) = place.affinity(spec)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term["matchExpressions"] == [
        {"key": "topology.kubernetes.io/region", "operator": "In", "values": ["eu-central-1"]}
    ]
