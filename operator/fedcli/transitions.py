"""What changed between two looks at a job, as lines for a log. Pure; used by display.py."""

from fedapi.jsonvalue import Json
from fedapi.names import WARNING
from fedoperator.decide.reasons import Reason


def transitions(before: Json, after: Json) -> list[str]:
    """Lines from the status before and after; an end comes last."""
    lines = _round_lines(before.get("round") or {}, after.get("round") or {}, after)
    back = after.get("rollback") or {}
    if back.get("result") == "Done" and back != before.get("rollback"):  # one that is refused is an event
        lines.append(f"rolled back: {back['message']}")
    if (metrics := metric_text(after)) and metrics != metric_text(before):
        lines.append(f"metrics of round {after['metrics'][0]['round']}: {metrics}")
    lines += _site_lines(before, after)
    if (trouble := after.get("trouble")) and trouble != before.get("trouble"):
        lines.append(f"trouble: {trouble}")
    phase = [f"phase {after.get('phase')}"] if after.get("phase") != before.get("phase") else []
    return [*lines, *phase] if after.get("phase") in ("Complete", "Failed") else [*phase, *lines]


def metric_text(status: Json) -> str:
    """All metrics in one line."""
    return " ".join(f"{metric['name']} {metric['value']}" for metric in status.get("metrics") or ())


def _round_lines(before: Json, after: Json, status: Json) -> list[str]:
    lines = []
    if after.get("committed", 0) != before.get("committed", 0):
        lines.append(f"round {after['committed']}/{after['total']} committed")
    if after.get("attempt", 1) > 1 and (after["attempt"], after["current"]) != (
        before.get("attempt"),
        before.get("current"),
    ):
        lines.append(f"round {after['current']} attempt {after['attempt']} begins ({status.get('participants', '')})")
    return lines


def _site_lines(before: Json, after: Json) -> list[str]:
    old = {client["name"]: client for client in before.get("clients") or ()}
    lines = []
    for client in after.get("clients") or ():
        known = old.get(client["name"], {})
        if client["state"] != known.get("state") and client["state"] in ("Failed", "Late", "BudgetSpent"):
            lines.append(f"site {client['name']}: {client['state']}{_because(client)}")
        elif (told := client.get("message") or "").startswith(WARNING) and told != known.get("message"):
            lines.append(f"site {client['name']}: {told}")
    jobs = {site["name"]: site for site in before.get("sites") or ()}
    for site in after.get("sites") or ():
        known = jobs.get(site["name"], {})
        if (
            site.get("reason") not in (None, "", Reason.STARTING)  # which is what sites do
            and site.get("message")
            and (site["reason"], site["message"]) != (known.get("reason"), known.get("message"))
        ):
            lines.append(f"site {site['name']}: {site['reason']}: {site['message']}")
    return lines


def _because(client: Json) -> str:
    message = client.get("message") or ""
    return f": {message}" if message and not message.startswith(WARNING) else ""
