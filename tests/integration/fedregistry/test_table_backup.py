"""A table that its registry has backed up by itself is restored by `fedloom registry restore`, and the next registry takes it."""

from tests import commands
from tests.integration.fedregistry.harness import running
from tests.waiting import until


def fedloom(*words):
    return commands.fedloom("registry", *words, check=False)


def test_from_a_backup_to_the_next_registry(moto, tmp_path):
    credentials = moto.credentials(tmp_path / "table-credentials")
    options = ("--region", "us-east-1", "--endpoint", moto.endpoint, "--credentials", str(credentials))
    with running(tmp_path / "first", moto.endpoint, credentials, backup_every_hours=1) as registry:
        table = registry.table
        until(lambda: registry.metric("fedloom_registry_backup_timestamp_seconds") > 0)
        with registry.client() as http:
            assert registry.heartbeat(http, "hospitals/late").status_code == 200
    listed = fedloom("backups", table, *options)
    assert listed.stdout.startswith("fedloom-2"), listed.stderr
    missing = fedloom("restore", table, "--to", f"{table}-new", "--backup", "fedloom-none", *options)
    assert missing.returncode == 1
    assert f"no whole backup fedloom-none of table {table}: there are fedloom-2" in missing.stderr
    done = fedloom("restore", table, "--to", f"{table}-new", *options)
    assert done.returncode == 0, done.stderr
    again = fedloom("restore", table, "--to", f"{table}-new", *options)
    assert again.returncode == 1
    assert f"table {table}-new is there" in again.stderr
    with (
        running(tmp_path / "second", moto.endpoint, credentials, table=f"{table}-new", create_table="false") as other,
        other.client() as http,
    ):
        assert other.heartbeat(http, "hospitals/late").status_code == 200
        until(lambda: other.sites(http).get("hospitals/late"))
