"""What an administrator of an Azure storage account does by hand: its properties, roles and lifecycle are of the management plane. Pure.

Fedloom speaks to the data plane alone; these are the commands, and the policy as a document.
"""

import json
import re
from typing import Any

from fedapi.wire.location import Azure
from fedstore.care.wanted import Wanted

Json = dict[str, Any]
COLD_CLASS = "Cool"
AT_ONCE = ("Cool", "Cold")  # tiers that are read without waiting; Archive is not
_ACCOUNT = "az storage account show --name {account} --query {query}"


def lifecycle(place: Azure, wanted: Wanted) -> Json:
    """The account's management policy, for this prefix. Models become cool by `fedloom storage age`, never by age alone."""
    return {
        "rules": [
            _rule(
                place,
                "updates",
                {"baseBlob": {"delete": _after("daysAfterModificationGreaterThan", wanted.updates_days)}},
            ),
            _rule(place, "", {"version": {"delete": _after("daysAfterCreationGreaterThan", wanted.noncurrent_days)}}),
        ]
    }


def show(place: Azure, query: str) -> str:
    """The command that looks at properties of the account."""
    return _ACCOUNT.format(account=place.account, query=query)


def show_policy(place: Azure) -> str:
    """The command that looks at the lifecycle."""
    return f"az storage account management-policy show --account-name {place.account} --resource-group GROUP"


def show_service(place: Azure, query: str) -> str:
    """The command that looks at properties of the account's blobs."""
    return f"az storage account blob-service-properties show --account-name {place.account} --query {query}"


def show_roles(place: Azure) -> str:
    """The command that looks at who may do what."""
    return f"az role assignment list --include-inherited --scope $(az storage account show --name {place.account} --query id -o tsv)"


def by_hand(place: Azure, wanted: Wanted) -> str:
    """Commands that set up what the data plane cannot, and the policy's document in them."""
    account = place.account
    of_account = f"$(az storage account show --name {account} --query id -o tsv)"
    scopes = {
        "Storage Blob Data Contributor": f"{of_account}/blobServices/default/containers/{place.container}",
        "Storage Blob Delegator": of_account,  # signs URLs
    }
    roles = [
        f"az role assignment create --assignee {each} --role '{role}' --scope \"{scope}\""
        for each in wanted.principals
        for role, scope in scopes.items()
    ]
    commands = [
        f"az storage account update --name {account} --https-only true --min-tls-version TLS1_2",
        f"az storage account update --name {account} --allow-blob-public-access false --allow-shared-key-access false",
        f"az storage account blob-service-properties update --account-name {account} --enable-versioning true",
        *roles,
        f"az storage account management-policy create --account-name {account} --resource-group GROUP --policy @lifecycle.json",
    ]
    replaces = (
        "# lifecycle.json; the command replaces the account's whole policy, so add the rules to those that are there:"
    )
    return "\n".join([*commands, replaces, json.dumps(lifecycle(place, wanted), indent=2)])


def _after(what: str, days: int | None) -> Json:
    return {what: days or 30}


def _rule(place: Azure, below: str, actions: Json) -> Json:
    path = "/".join(part for part in (place.container, place.prefix, below) if part)
    name = re.sub("[^A-Za-z0-9]+", "-", f"fedloom/{path}") + ("" if below else "-versions")
    filters = {"blobTypes": ["blockBlob"], "prefixMatch": [f"{path}/"]}
    return {"enabled": True, "name": name, "type": "Lifecycle", "definition": {"actions": actions, "filters": filters}}
