"""What a local run says at its end: how it ended, what came of it, and who has no part in that. Pure; called by commands.py."""

from collections.abc import Iterator
from pathlib import Path

from fedapi.jsonvalue import Json
from fedcli.privacytext import spent
from fedlocal.intake import Request
from fedlocal.manifests import Document
from fedlocal.runner import Ending
from fedlocal.statefolder import StateFolder
from fedoperator.decide.reasons import Reason
from fedoperator.decide.site_status import CALM

_NAMED = 10  # sites with their reasons


def summary(document: Document, ending: Ending, request: Request, content: Json) -> list[str]:
    """The last lines. `content`: the run's result."""
    told = (ending.job.get("status") or {}).get("round") or {}  # more than were asked for, where the job went back
    asked = document.body["spec"]["rounds"]
    total = told.get("total") or asked
    lines = _ended(ending, request.state, f"{content['rounds']}/{total} rounds" if asked else "evaluation")
    if ending.phase == "Complete" and content["rounds"] < total:
        lines.append(f"no more rounds: {ending.message}")
    metrics = ", ".join(f"{metric} {value:.4g}" for metric, value in content["metrics"].items())
    if metrics:
        lines.append(f"metrics: {metrics}")
    lines += [f"privacy: {each}" for each in spent(ending.job.get("status") or {})]
    if ending.phase == "Complete" and asked:
        lines += without_update(ending.job, request.state)
    if content["model"]["uri"]:
        lines.append(f"model: {content['model']['sha256']} ({how_to_pull(document.body, request.workdir)})")
    return lines


def _ended(ending: Ending, state: StateFolder, done: str) -> list[str]:
    name, before = ending.job["metadata"]["name"], ending.seconds is None
    match ending.phase:
        case "Complete" if before:
            return [f"{name} was complete already ({done}): nothing to do; --fresh runs it anew"]
        case "Complete":
            return [f"{name} is complete: {done} in {ending.seconds:.1f} s"]
        case "Failed":
            how = "failed before (mend the cause and run with --fresh)" if before else "failed"
            return [f"{name} {how}: {ending.message or 'no reason was given'}", f"logs: {state.logs}"]
        case "Stalled":
            return [f"{name} stands still: {ending.message}", f"mend it and run again; logs: {state.logs}"]
        case "Suspended":
            return [f"{name} is suspended (spec.suspend is true): nothing runs; set it to false and run again"]
        case "Interrupted":
            return [f"{name} stopped after {done}: run again, without --fresh, to go on from there"]


def how_to_pull(job: Json, workdir: Path) -> str:
    """The command that gives a local run's model, and what has to come first."""
    gate = ", once it is approved: fedloom model approve" if job["spec"].get("release") else ""
    return f"fedloom model pull {job['metadata']['name']} --workdir {workdir}{gate}"


def without_update(job: Json, state: StateFolder) -> Iterator[str]:
    """Who has no update in the model. A site that was left out, or that no round drew, has nothing in its logs to look for."""
    status = job.get("status") or {}
    absent = [each for each in status.get("clients") or () if not each.get("rounds") and each["state"] != "HeldOut"]
    out = {each["name"]: each for each in status.get("sites") or () if _is_left_out(each.get("reason") or "")}
    idle = [
        each["name"]
        for each in absent
        if each["state"] in ("Idle", "Waiting") and not each.get("selected") and not each.get("failures")
    ]
    drawn = sorted(each["name"] for each in absent if each["name"] not in idle)
    if drawn:
        yield f"no update of theirs is in the model: {', '.join(drawn)}; logs: {state.logs}"
    left_out = sorted(name for name in idle if name in out)
    for name in left_out[:_NAMED]:
        yield f"left out: {name}: {out[name]['reason']}: {out[name].get('message', '')}"
    if len(left_out) > _NAMED:
        yield f"left out: {len(left_out) - _NAMED} more"
    if never := sorted(name for name in idle if name not in out):
        yield f"never drawn: {', '.join(never)}"


def _is_left_out(reason: str) -> bool:
    return reason == Reason.PAUSED or reason not in CALM
