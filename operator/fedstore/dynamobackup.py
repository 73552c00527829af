"""Backups of the registry's table, as DynamoDB itself makes them: on demand, whole, in seconds, kept until they are deleted.

Made by fedregistry by the clock, listed and restored by `fedloom registry`. What a restored table has lost of its settings (DynamoDB
brings back items and keys alone) is set again. Backups of the table that are not Fedloom's are neither counted nor deleted.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from fedstore import dynamodb
from fedstore.credentials import OfCredentials
from fedstore.dynamodb import DynamoSites
from fedstore.errors import StoreDeniedError, StoreFailedError, UnfitStoreError

_NAME, _TIMES = re.compile("fedloom-[0-9]{8}-[0-9]{6}"), "fedloom-%Y%m%d-%H%M%S"  # others may begin a name so, too
_AVAILABLE = "AVAILABLE"
_LOOK_S = 2.0


@dataclass(frozen=True)
class TableBackup:
    """One that is there."""

    arn: str
    name: str
    made_at: float  # seconds since the epoch
    bytes: int
    whole: bool  # False while DynamoDB is at it


class TableBackups:
    """Of one table."""

    def __init__(self, table: str, client: Callable[[], Any]) -> None:
        self._table, self._client = table, client

    @classmethod
    def open(cls, table: str, region: str, endpoint: str, credentials: Path | None) -> "TableBackups":
        """As DynamoSites are opened."""
        return cls(table, OfCredentials(credentials, partial(dynamodb.client, region, endpoint, credentials)).now)

    def all(self) -> list[TableBackup]:
        """Newest first."""
        found = [_backup(each) for each in self._listed() if _NAME.fullmatch(each["BackupName"])]
        return sorted(found, key=lambda each: each.made_at, reverse=True)

    def make(self, now: float) -> TableBackup:
        """One of now. DynamoDB goes on with it by itself."""
        name = datetime.fromtimestamp(now, UTC).strftime(_TIMES)
        return _backup(self._ask("create_backup", TableName=self._table, BackupName=name)["BackupDetails"])

    def keep(self, last: int) -> int:
        """Deletes whole ones but so many; how many it deleted."""
        old = [each for each in self.all() if each.whole][max(1, last) :]
        for each in old:
            self._ask("delete_backup", BackupArn=each.arn)
        return len(old)

    def point_in_time(self) -> bool | None:
        """Whether the table can be recovered to any second of the last days; None where these credentials may not ask."""
        try:
            said = self._ask("describe_continuous_backups", TableName=self._table)["ContinuousBackupsDescription"]
        except StoreDeniedError:
            return None
        recovery: Mapping[str, Any] = said.get("PointInTimeRecoveryDescription", {})
        return recovery.get("PointInTimeRecoveryStatus") == "ENABLED"

    def restored(self, backup: TableBackup, to: str, patience_s: float) -> None:
        """Into a new table, with time to live and recovery as the registry's has. UnfitStoreError where the name is taken."""
        try:
            self._ask("restore_table_from_backup", TargetTableName=to, BackupArn=backup.arn)
        except dynamodb.TakenError as error:
            raise UnfitStoreError(f"table {to} is there: a restore makes a new one, so name another") from error
        until = time.monotonic() + patience_s
        while self._ask("describe_table", TableName=to)["Table"]["TableStatus"] != "ACTIVE":
            if time.monotonic() > until:
                raise StoreFailedError(
                    f"table {to} is not restored after {patience_s:.0f} s: DynamoDB goes on; ask again"
                )
            time.sleep(_LOOK_S)
        table = DynamoSites(to, self._client)
        table.complete()
        table.check()

    def _listed(self) -> Iterator[Mapping[str, Any]]:
        start: dict[str, Any] = {}
        while True:
            page = self._ask("list_backups", TableName=self._table, BackupType="USER", **start)
            yield from page["BackupSummaries"]
            if "LastEvaluatedBackupArn" not in page:
                return
            start = {"ExclusiveStartBackupArn": page["LastEvaluatedBackupArn"]}

    def _ask(self, call: str, **what: Any) -> dict[str, Any]:
        return dynamodb.asked(self._client(), self._table, call, **what)


def _backup(said: Mapping[str, Any]) -> TableBackup:
    return TableBackup(
        arn=said["BackupArn"],
        name=said["BackupName"],
        made_at=said["BackupCreationDateTime"].timestamp(),
        bytes=int(said.get("BackupSizeBytes") or 0),
        whole=said["BackupStatus"] == _AVAILABLE,
    )
