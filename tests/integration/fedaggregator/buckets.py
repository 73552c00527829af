"""Jobs whose store is a bucket of a test's S3 server. Used by integration and chaos tests."""

import secrets
from pathlib import Path

from tests.integration.fedaggregator.harness import JobFolder, config


def job_in(server, root: Path, *clients: str, env: dict[str, str] | None = None, **values) -> JobFolder:
    """A job below a prefix of its own; `values` of its configuration."""
    place = server.place(server.shared_bucket, prefix=f"jobs/{secrets.token_hex(6)}")
    credentials = server.credentials(root / "store-credentials")
    job = config(clients or ("a", "b"), **values)
    return JobFolder(root, job, place=place, store_credentials=credentials, extra_env=env or {})


def beside(job: JobFolder, root: Path) -> JobFolder:
    """Another aggregator's folder for the same job in the same bucket."""
    return JobFolder(root, job.config, model=None, place=job.place, store_credentials=job.store_credentials)
