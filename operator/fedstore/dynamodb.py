"""The registry of sites in a table of DynamoDB. The one module that knows the table.

    ClientID (S, partition key)   NAMESPACE/NAME
    LastSeen (N)                  seconds since the epoch
    Capability (M)                cpu, memory, accelerator; Organization (S), Labels (M): what else the site says
    Status (S)                    Active, Inactive: written on transitions, for who looks at the table
    ExpiryTime (N)                LastSeen + 24 h, whole seconds: the table's TTL attribute

DynamoDB deletes by TTL within days, not at once, so `settle` deletes too and readers go by LastSeen. All writes are
conditional: processes that share a table, and requests that overtake one another, cannot undo a newer heartbeat. A process
whose clock is not the table's, as its answers tell it, writes nothing: what it wrote ahead would keep right ones out.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from fedapi.names import SITE_EXPIRES_S
from fedapi.wire.registry import Claims
from fedstore.credentials import CA_FILE, OfCredentials
from fedstore.errors import StoreDeniedError, StoreError, StoreFailedError, UnfitStoreError
from fedstore.siteregistry import WRITTEN_EVERY_S, Registered

log = logging.getLogger(__name__)
KEY, TTL = "ClientID", "ExpiryTime"
_CONFIG = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 4})
_LOST = "ConditionalCheckFailedException"
_DENIED = frozenset(
    {"AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException"}
)
MOST_SKEW_S = 60.0  # between the clocks of this process and of the table
_REMEMBERED = 20_000  # sites: what saves writes that would be refused


class DynamoSites:
    """One table. Thread-safe."""

    def __init__(self, table: str, client: Callable[[], Any], clock: Callable[[], float] = time.time) -> None:
        self._table, self._client, self._clock = table, client, clock
        self._ahead_s = 0.0  # this process's clock of the table's, as of the last answer
        self._lock = threading.Lock()
        self._seen: dict[str, float] = {}  # when each was written last, as far as this process knows

    @classmethod
    def open(cls, table: str, region: str, endpoint: str, credentials: Path | None) -> "DynamoSites":
        """`credentials`: a folder as that of a store; None: the SDK's own chain, workload identity among it."""
        return cls(table, OfCredentials(credentials, partial(client, region, endpoint, credentials)).now)

    def heard(self, client_id: str, claims: Claims, at: float) -> bool:
        """Takes in a heartbeat: one conditional write, and none within a minute after one that this process knows of."""
        self._check_clock()
        if not self._claimed(client_id, at):
            return False
        condition = f"attribute_not_exists({KEY}) OR LastSeen <= :before"
        try:
            self._ask(
                "put_item",
                Item=_item(client_id, claims, at),
                ConditionExpression=condition,
                ExpressionAttributeValues={":before": _number(at - WRITTEN_EVERY_S)},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except _LostError as lost:
            self._remember(client_id, lost.last_seen)
            return False
        except StoreError:
            self._remember(client_id, 0.0)
            raise
        return True

    def sites(self) -> Iterable[Registered]:
        """All that are kept. Eventually consistent: what was written within the second may be missing."""
        return [site for item in self._scan() if (site := _registered(item))]

    def settle(self, now: float) -> tuple[Registered, ...]:
        """Marks the silent, removes the expired; the others. One scan."""
        kept, items = [], list(self._scan())
        self._check_clock()
        for item in items:
            if (site := _registered(item)) is None:
                continue
            if site.state(now) == "Expired":
                self._unless_heard("delete_item", site)
                continue
            kept.append(site)
            if site.state(now) == "Inactive" and item.get("Status", {}).get("S") != "Inactive":
                self._unless_heard(
                    "update_item",
                    site,
                    UpdateExpression="SET #status = :status",
                    ExpressionAttributeNames={"#status": "Status"},
                    ExpressionAttributeValues={":status": {"S": "Inactive"}},
                )
        return tuple(kept)

    def check(self) -> None:
        """UnfitStoreError unless the table is there and as it must be; what is wrong with it is named."""
        try:
            found = self._ask("describe_table")["Table"]
            ttl = self._ask("describe_time_to_live")["TimeToLiveDescription"]
        except _AbsentError as error:
            raise UnfitStoreError(f"table {self._table} does not exist: {_HOW}") from error
        self._check_key(found)
        if ttl.get("AttributeName") != TTL or ttl["TimeToLiveStatus"] not in ("ENABLED", "ENABLING"):
            raise UnfitStoreError(f"table {self._table} has no time to live on {TTL}: enable it")

    def create(self) -> None:
        """Makes the table unless it is there: on demand, encrypted, with TTL and recovery to a point in time.

        One that is there and empty is finished: whoever made it may have been killed before the end. UnfitStoreError
        when its key is another: then it is not ours.
        """
        try:
            self._ask(
                "create_table",
                KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": KEY, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
                SSESpecification={"Enabled": True},
            )
        except TakenError:
            self._check_key(self._ask("describe_table")["Table"])  # somebody else's stays as it is, empty or not
            if self._ask("scan", Limit=1)["Items"]:
                return
        try:
            waiter = self._client().get_waiter("table_exists")
            waiter.wait(TableName=self._table, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        except BotoCoreError as error:
            raise StoreFailedError(f"table {self._table} was made and does not come up: {error}") from error
        self.complete()

    def complete(self) -> None:
        """Gives a table what neither its making nor a restore gives it."""
        if self._ask("describe_time_to_live")["TimeToLiveDescription"]["TimeToLiveStatus"] == "DISABLED":
            self._ask("update_time_to_live", TimeToLiveSpecification={"Enabled": True, "AttributeName": TTL})
        self._ask("update_continuous_backups", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True})

    def close(self) -> None:
        """Its connections."""
        self._client().close()

    def _check_clock(self) -> None:
        """StoreFailedError when this process's clock is not the table's. Each reading of the table looks again."""
        if abs(self._ahead_s) > MOST_SKEW_S:
            what = f"{abs(self._ahead_s):.0f} s {'ahead of' if self._ahead_s > 0 else 'behind'} that of DynamoDB"
            raise StoreFailedError(
                f"table {self._table}: the clock of this process is {what}: nothing is written: set it"
            )

    def _check_key(self, found: Mapping[str, Any]) -> None:
        """Of a table as it is described."""
        keys = [(key["AttributeName"], key["KeyType"]) for key in found["KeySchema"]]
        types = {each["AttributeName"]: each["AttributeType"] for each in found["AttributeDefinitions"]}
        if keys != [(KEY, "HASH")] or types.get(KEY) != "S":
            raise UnfitStoreError(f"table {self._table} has the key {keys}: it must be {KEY} (string) alone")

    def _scan(self) -> Iterator[Mapping[str, Any]]:
        start: dict[str, Any] = {}
        while True:
            page = self._ask("scan", **start)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _unless_heard(self, call: str, site: Registered, **what: Any) -> None:
        """Changes an item if it is still the one that was read."""
        values = what.pop("ExpressionAttributeValues", {}) | {":seen": _number(site.last_seen)}
        key = {KEY: {"S": site.client_id}}
        try:
            self._ask(call, Key=key, ConditionExpression="LastSeen = :seen", ExpressionAttributeValues=values, **what)
        except _LostError:
            return

    def _claimed(self, client_id: str, at: float) -> bool:
        """Whether a heartbeat may be written: of requests at the same time, one of them."""
        with self._lock:
            if at < self._seen.get(client_id, 0.0) + WRITTEN_EVERY_S:
                return False
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            self._seen[client_id] = at
            return True

    def _remember(self, client_id: str, at: float) -> None:
        with self._lock:
            self._seen[client_id] = at

    def _ask(self, call: str, **what: Any) -> dict[str, Any]:
        answer = asked(self._client(), self._table, call, TableName=self._table, **what)
        date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
        with contextlib.suppress(ValueError, OverflowError):  # none, or none that can be read: the last one counts
            self._ahead_s = self._clock() - parsedate_to_datetime(date).timestamp()
        return answer


def asked(speaker: Any, table: str, call: str, **what: Any) -> dict[str, Any]:
    """A call of boto3's client that is about a table; StoreError where it fails."""
    try:
        answer: dict[str, Any] = getattr(speaker, call)(**what)
    except ClientError as error:
        raise _classed(table, call, error) from error
    except BotoCoreError as error:
        raise StoreFailedError(f"table {table}: {call}: {error}") from error
    return answer


def client(region: str, endpoint: str, credentials: Path | None, files: Mapping[str, str]) -> Any:
    """Of the SDK, for one set of credentials. UnfitStoreError where it cannot be made, as without a region."""
    session = boto3.Session(
        aws_access_key_id=files.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=files.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=files.get("AWS_SESSION_TOKEN"),
        region_name=region or None,
    )
    ca = str(credentials / CA_FILE) if credentials is not None and CA_FILE in files else None
    try:
        return session.client("dynamodb", endpoint_url=endpoint or None, config=_CONFIG, verify=ca)
    except (BotoCoreError, ValueError) as error:  # ValueError: the endpoint is no URL
        raise UnfitStoreError(f"DynamoDB in region {region or 'of the environment'}: {error}") from error


class _LostError(StoreError):
    """The condition did not hold."""

    def __init__(self, last_seen: float) -> None:
        super().__init__("another write was first")
        self.last_seen = last_seen


class _AbsentError(StoreFailedError):
    """There is no such table."""


class TakenError(StoreFailedError):
    """There is a table of that name."""


_HOW = "make it (docs/registry.md), or let the registry do so: registry.dynamodb.create"


def _classed(table: str, call: str, error: ClientError) -> StoreError:
    answer: Any = error.response
    code = answer.get("Error", {}).get("Code", "")
    said = f"table {table}: {call}: {code} {answer.get('Error', {}).get('Message', '')}".strip()
    if code == _LOST:
        return _LostError(float(answer.get("Item", {}).get("LastSeen", {}).get("N", "0")))
    if code == "ResourceNotFoundException":
        return _AbsentError(said)
    if code in ("ResourceInUseException", "TableAlreadyExistsException"):
        return TakenError(said)
    return StoreDeniedError(said) if code in _DENIED else StoreFailedError(said)


def _number(value: float) -> dict[str, str]:
    return {"N": f"{value:.3f}"}


def _strings(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"M": {name: {"S": value} for name, value in values.items() if value is not None}}


def _item(client_id: str, claims: Claims, at: float) -> dict[str, Any]:
    item = {
        KEY: {"S": client_id},
        "LastSeen": _number(at),
        "Capability": _strings(claims.capability.model_dump()),
        "Status": {"S": "Active"},
        TTL: {"N": str(int(at) + SITE_EXPIRES_S)},
    }
    item |= {"Organization": {"S": claims.organization}} if claims.organization else {}
    return item | ({"Labels": _strings(claims.labels)} if claims.labels else {})


def _registered(item: Mapping[str, Any]) -> Registered | None:
    """None where it cannot be read: somebody wrote into the table by hand."""

    def texts(name: str) -> dict[str, str]:
        return {key: value["S"] for key, value in item.get(name, {}).get("M", {}).items()}

    try:
        organization = item.get("Organization", {}).get("S")
        claims = Claims.model_validate(
            {"capability": texts("Capability"), "organization": organization, "labels": texts("Labels")}
        )
        return Registered(item[KEY]["S"], float(item["LastSeen"]["N"]), claims)
    except (KeyError, ValueError, TypeError) as error:
        log.warning(
            "an item of the table cannot be read",
            extra={"fields": {"key": str(item.get(KEY))[:350], "reason": str(error)[:200]}},
        )
        return None
