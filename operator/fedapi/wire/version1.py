"""What version 0.1 said otherwise, as today's messages say it: pure functions of JSON objects.

Called where such objects are read: what a trainer of 0.1 sends and what an aggregator of 0.1 has stored has the same form.
And what is answered to such a trainer, which refuses what it does not know.
"""

from fedapi.jsonvalue import Json, JsonView

_CODES = {
    "Incompatible": "Malformed",
    "Incomplete": "Malformed",
    "Busy": "Stopping",
    "TooSlow": "Stopping",
} | dict.fromkeys(("Unsigned", "UnknownKey", "RevokedKey", "WrongSignature"), "Malformed")


def code(code_: str) -> str:
    """The refusal's code as 0.1 knows it: one after which it does the same."""
    return _CODES.get(code_, code_)


def envelope(table: JsonView) -> Json:
    """An update's envelope: 0.1 sent, and kept, its body alone, with one payload."""
    if "payload" not in table:
        return dict(table)
    body = {name: value for name, value in table.items() if name not in ("payload", "checksum")}
    return {"body": body | {"payloads": {"update": {"codec": "None", "object": table["payload"]}}}}


def participant(table: JsonView) -> Json:
    """A participant of a commit: 0.1 named its one payload by digest."""
    if "payload_sha256" not in table:
        return dict(table)
    rest = {name: value for name, value in table.items() if name != "payload_sha256"}
    return rest | {"payloads": {"update": table["payload_sha256"]}}
