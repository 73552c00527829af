"""`fedloom run` of a job whose store is a bucket: the manifest that a cluster takes, a real S3 server, the model of a volume."""

import json
import secrets

import pytest

from fedapi.wire import location
from tests.integration.fedlocal.runs import SITES, Lab, job

SECRET = "fedloom-store-models"


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_job_in_a_bucket_ends_with_the_model_of_a_volume(tmp_path, minio, encrypted):
    place = location.parsed(minio.place(minio.shared_bucket, prefix=f"run/{secrets.token_hex(6)}"))
    files = {path.name: path.read_text() for path in minio.credentials(tmp_path / "credentials").iterdir()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": files}
    bucket = {"bucket": place.bucket, "prefix": place.prefix, "region": place.region, "endpoint": place.endpoint}
    storage = {
        "s3": bucket | {"credentialsSecretRef": {"name": SECRET}},
        "clientEncryption": {"enabled": encrypted},
    }
    models = []
    for name, documents in (("volume", (job(), *SITES)), ("bucket", (job(storage=storage), *SITES, secret))):
        lab = Lab.of(tmp_path / name, *documents)
        code, output = lab.run()
        assert code == 0, output
        assert files["AWS_SECRET_ACCESS_KEY"] not in output
        models.append(lab.digest())
    assert models[0] == models[1]
    told = json.loads((lab.state / "job.json").read_text())["status"]
    found = {each["requirement"]: each["state"] for each in told["storage"]["findings"]}
    assert found["versions are kept"] == "Missing", "the aggregator has looked at the bucket's settings"
    assert [c["reason"] for c in told["conditions"] if c["type"] == "StorageSafe"] == ["Finished"]
    with minio.clients() as client:
        found = client.list_objects_v2(Bucket=place.bucket, Prefix=f"{place.prefix}/")["Contents"]
    keys = [each["Key"] for each in found]
    assert any("/models/" in key for key in keys)
    assert any(key.endswith("/issues.json") for key in keys)
    assert not any("/updates/" in key and ".safetensors" in key for key in keys), (
        "deleted when the last round was committed"
    )
