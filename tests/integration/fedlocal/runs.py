"""Writes manifests of small real jobs and runs `fedloom` on them in real processes. Used by the integration and chaos rings."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests import commands, preforked
from tests.waiting import until

TASK = Path(__file__).parent / "task" / "lab.py"
TIMEOUT_S = 300  # for a whole run: every process loads torch
JOB = "lab"


def site(name, pool=None, **env):
    data = {"env": [{"name": key, "value": value} for key, value in env.items()]}
    return document("FLClient", name, provider="OnPremises", data=data, pool=pool or {})


def document(kind, name, **spec):
    return {"apiVersion": "fedloom.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def job(name=JOB, **spec):
    defaults = {
        "task": {"entrypoint": "lab:task", "image": "none"},
        "rounds": 3,
        "seed": 3,
        "training": {"optimizer": {"learningRate": "0.1"}},
    }
    return document("FederatedJob", name, **(defaults | spec))


SITES = (site("north"), site("south"))


@dataclass(frozen=True)
class Lab:
    """A folder with manifests and the task, and the state of its runs."""

    folder: Path
    started: list = field(default_factory=list)

    @classmethod
    def of(cls, folder, *documents):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(TASK, folder / "lab.py")
        (folder / "manifests.yaml").write_text(yaml.safe_dump_all(documents))
        return cls(folder)

    @property
    def state(self):
        return self.folder / "state" / JOB

    def fedloom(self, *words, **how):
        """A command of this folder's runs."""
        return commands.fedloom(*words, "--workdir", self.folder / "state", **how)

    def start(self, *options, **env):
        """A run of its one job."""
        return self.begin("--result", self.folder / "result.json", *options, **env)

    def begin(self, *options, **env):
        """A run of its jobs."""
        log, state = self.folder / "said" / f"{len(self.started)}.txt", self.folder / "state"
        words = ("run", self.folder, *options, "--workdir", state)
        process = commands.started(*words, log=log, env=os.environ | env)
        self.started.append(process)
        return process

    def close(self):
        """Ends what a failed test left running."""
        for process in self.started:
            process.kill()
            process.wait(TIMEOUT_S)

    def run(self, *options, **env):
        """Exit code and everything that was printed."""
        return finish(self.start(*options, **env))

    def result(self):
        return json.loads((self.folder / "result.json").read_text())

    def digest(self):
        return self.result()["model"]["sha256"]

    def go(self, *rounds):
        """Lets sites train that LAB_HOLD holds in these rounds."""
        (self.folder / "marks").mkdir(exist_ok=True)
        for round_ in rounds:
            (self.folder / "marks" / f"go-{round_}").touch()

    def pid_in_round(self, name, round_):
        """Waits for a site to train in a round; its process id."""
        mark = self.folder / "marks" / f"{name}-{round_}"
        return int(until(lambda: mark.exists() and mark.read_text()))


def finish(process, timeout_s=TIMEOUT_S):
    """Exit code and everything that was printed."""
    try:
        return process.wait(timeout_s), process.log.read_text()
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"no end within {timeout_s} s:\n{process.log.read_text()}") from None


def descendants(pid):
    """{pid: command line} of all processes below one, by /proc: children come before theirs. Those that have ended are none."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(stat.parent.name)] = int(parent)
    found, new = {}, {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - set(found)
        found |= {child: command_line(child) for child in new}
    return found


def hubs(pid):
    """Aggregators below a process. What hands in the initial model may not have ended yet, and is none."""
    return {child for child, line in descendants(pid).items() if "fedaggregator" in line.split()}


def ranks(pid):
    """{rank: pid} of the rings below a process."""
    return {int(slot): child for child in descendants(pid) if (slot := variable(child, "FEDLOOM_SLOT_RANK"))}


def variable(pid, name):
    """A variable of the environment that a process was started with."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    except OSError:
        return ""
    return dict(entry.partition("=")[::2] for entry in entries).get(name, "")


def command_line(pid):
    """Of a fork that has a name of its own, that name: its command line is that of the process it was forked from."""
    try:
        if (name := Path(f"/proc/{pid}/comm").read_text().strip()).startswith(preforked.NAMES[:2]):
            return name
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
