"""Jobs whose store is a bucket of a test's S3 server. Used by integration and chaos tests."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from fedapi import names
from fedapi.wire.tokens import site_token
from tests.integration.fedaggregator.harness import JOB_KEY, JobFolder, config, small_model


def job_in(
    server, root: Path, *clients: str, env: dict[str, str] | None = None, model=small_model, **values
) -> JobFolder:
    """A job below a prefix of its own; `values` of its configuration; `model`: what makes its first one."""
    place = server.place(server.shared_bucket, prefix=f"jobs/{secrets.token_hex(6)}")
    credentials = server.credentials(root / "store-credentials")
    job = config(clients or ("a", "b"), **values)
    made = model() if model else None
    return JobFolder(root, job, made, place=place, store_credentials=credentials, extra_env=env or {})


def beside(job: JobFolder, root: Path) -> JobFolder:
    """Another aggregator's folder for the same job in the same bucket."""
    return JobFolder(root, job.config, model=None, place=job.place, store_credentials=job.store_credentials)


@dataclass(frozen=True)
class Reached:
    """How a trainer's program reaches the aggregator of a job: what its folder of credentials is made of."""

    job: JobFolder

    @property
    def url(self) -> str:
        return self.job.url

    @property
    def ca(self) -> Path:
        return self.job.root / "credentials" / names.FILE_CA

    def token(self, client: str) -> str:
        return site_token(JOB_KEY, client)
