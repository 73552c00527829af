"""Backups of the registry's table, by moto's DynamoDB: made, kept few, and restored into a table that the registry takes."""

from uuid import uuid4

import pytest

from fedapi.wire.registry import Capability, Claims
from fedregistry import metrics
from fedregistry.backups import Backups
from fedstore.dynamobackup import TableBackups
from fedstore.dynamodb import DynamoSites
from fedstore.errors import StoreDeniedError, StoreFailedError, UnfitStoreError

NOW = 1_800_000_000.0
SMALL = Claims(capability=Capability(cpu="4", memory="16Gi"))


@pytest.fixture
def opened(moto, tmp_path):
    """A table with one site, and its backups."""
    name = f"sites-{uuid4().hex[:8]}"
    place = name, "us-east-1", moto.endpoint, moto.credentials(tmp_path / "credentials")
    sites, backups = DynamoSites.open(*place), TableBackups.open(*place)
    sites.create()
    assert sites.heard("ns/a", SMALL, NOW)
    yield sites, backups, place
    sites.close()


def test_without_a_region_it_is_told(monkeypatch):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CONFIG_FILE", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(UnfitStoreError, match="specify a region"):
        TableBackups.open("sites", "", "", None).all()


def test_what_is_restored_is_a_registry_with_all_its_settings(opened):
    sites, backups, (name, *place) = opened
    made = backups.make(NOW)
    assert made.name == "fedloom-20270115-080000"
    sites.heard("ns/b", SMALL, NOW)
    backups.restored(backups.all()[0], f"{name}-again", 60.0)
    again = DynamoSites.open(f"{name}-again", *place)
    again.check()
    assert [(site.client_id, site.last_seen, site.claims) for site in again.sites()] == [("ns/a", NOW, SMALL)]
    assert TableBackups.open(f"{name}-again", *place).point_in_time() is True
    with pytest.raises(UnfitStoreError, match=f"table {name}-again is there"):
        backups.restored(made, f"{name}-again", 60.0)


def test_the_last_ones_stay_and_those_of_others_always(opened, moto):
    _, backups, (name, *_) = opened
    client = moto.client("dynamodb")
    others = {"by-hand", "fedloom-before-the-upgrade"}
    for each in others:
        client.create_backup(TableName=name, BackupName=each)
    for second in range(4):
        backups.make(NOW + second)
    assert len(backups.all()) == 4
    assert backups.keep(2) == 2
    assert len(backups.all()) == 2
    kept = {each["BackupName"] for each in client.list_backups(TableName=name)["BackupSummaries"]}
    assert others <= kept
    client.close()


def test_recovery_to_a_point_in_time_is_told_as_it_is(opened, moto):
    _, backups, (name, *_) = opened
    assert backups.point_in_time() is True
    client = moto.client("dynamodb")
    off = {"PointInTimeRecoveryEnabled": False}
    client.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=off)
    assert backups.point_in_time() is False
    client.close()


def test_a_table_that_is_not_there_is_named(opened):
    _, _, (_, *place) = opened
    with pytest.raises(StoreFailedError, match="table nobody"):
        TableBackups.open("nobody-sites", *place).make(NOW)


def test_by_the_clock_one_a_day_and_so_many_stay(opened):
    _, table, _ = opened
    made = table.make(NOW).made_at  # by the server's clock
    now = [made + 3600]
    backups = Backups(table, 86_400, 2, lambda: now[0])
    backups.look()
    assert [each.made_at for each in table.all()] == [made], "not due"
    for _ in range(3):
        now[0] = max(each.made_at for each in table.all()) + 86_401
        backups.look()
    assert len(table.all()) == 2
    assert metrics.BACKUP_AT._value.get() == table.all()[0].made_at


class Denied:
    """Credentials that may do nothing of this."""

    def all(self):
        raise StoreDeniedError("table sites: list_backups: AccessDeniedException")

    def point_in_time(self):
        return None


def test_a_right_that_is_missing_is_counted_and_ends_nothing(caplog):
    before = metrics.BACKUP_FAILURES._value.get()
    backups = Backups(Denied(), 60, 2, lambda: NOW)
    backups.note_recovery()
    backups.look()
    assert metrics.BACKUP_FAILURES._value.get() == before + 1
    assert "the table was not backed up" in caplog.text
