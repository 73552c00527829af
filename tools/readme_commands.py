"""`make readme`: runs the commands of README.md as a newcomer would, from an empty cache and an empty HOME.

A copy of the checkout without anything that git does not know; what needs most comes first, so that it has to install
everything itself. tests/repo/test_readme.py checks that every command of the page is in STEPS. Standard library only.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "readme"
FREE_GIB = 40
# What a newcomer's shell does not have; proxies and certificates of this machine stay.
FORGOTTEN = ("FEDLOOM_", "XDG_", "KUBE", "PYTHON", "VIRTUAL_ENV", "MAKE", "GOPATH", "GOCACHE", "GOMODCACHE", "GOENV")


@dataclass(frozen=True)
class Step:
    """A command by its first words; what has to be done before it here; or why it is not run by this program."""

    begins: str
    before: str = ""
    elsewhere: str = ""


STEPS = (
    Step("make demo-cluster"),
    Step('eval "$(python3 -m tests.cluster env)"'),
    Step("kubectl get fj"),
    Step("helm install fedloom", before="helm uninstall fedloom --namespace fedloom-system"),
    Step("kubectl apply -f -"),
    Step("make cluster-down"),
    Step("make demo", before="unset KUBECONFIG"),
    Step("source .venv/bin/activate"),
    Step("python examples/heart-disease/prepare.py"),
    Step("fedloom run examples/heart-disease/"),
    Step("make check"),
    Step("make bench"),
    Step("make install", elsewhere="every other target installs"),
    Step("make test-gpu", elsewhere="a machine with an NVIDIA GPU, which this one may not be"),
    Step("make test", elsewhere=".ci/run runs it on a machine that has nothing"),
)


def commands(page: str) -> list[str]:
    """Every command that the page names, in its order: `make …` in prose, and console blocks with what belongs to them."""
    found = re.findall(r"`(make [a-z-]+)`", page)
    for block in re.findall(r"^```console\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL):
        lines = iter(block.splitlines())
        found += [_whole(line[2:], lines) for line in lines if line.startswith("$ ")]
    return list(dict.fromkeys(found))


def _whole(command: str, lines: Iterator[str]) -> str:
    while command.endswith("\\"):
        command += "\n" + next(lines)
    if here := re.search(r"<<'(\w+)'", command):
        while not command.endswith(f"\n{here[1]}"):
            command += "\n" + next(lines)
    return command


def step_of(command: str) -> Step | None:
    """Where the command is run: the step that its beginning names."""
    return next((step for step in STEPS if re.match(rf"{re.escape(step.begins)}(\s|$)", command)), None)


def script(page: str) -> str:
    """The page's commands in the order of STEPS, for bash."""
    known = {step_of(command): command for command in commands(page)}
    lines = ["set -euo pipefail", "trap 'make --silent cluster-down' EXIT"]
    for step in STEPS:
        if step in known and not step.elsewhere:
            lines += [f"printf '\\n== %s (%ss)\\n' {shlex.quote(step.begins)} $SECONDS", step.before, known[step]]
    return "\n".join([*lines, "printf '\\n== done (%ss)\\n' $SECONDS", ""])


def copy(target: Path) -> None:
    """What git knows of the checkout, and what it would take in, as it is on disk."""
    listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    subprocess.run(["git", "init", "--quiet"], cwd=target, check=True)  # as a clone is: tests ask git what is there


def main() -> int:
    """The exit code of the first command that fails; 0 when all did what the page says."""
    free = shutil.disk_usage(ROOT).free / 2**30
    if free < FREE_GIB:
        sys.exit(f"an empty cache fills up with {FREE_GIB} GiB, but {ROOT} has {free:.0f} GiB left: make room there")
    shutil.rmtree(FOLDER, ignore_errors=True)
    checkout = FOLDER / "checkout"
    copy(checkout)
    (FOLDER / "commands.sh").write_text(script((checkout / "README.md").read_text()))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(FORGOTTEN)}
    for name, variable in (("home", "HOME"), ("cache", "FEDLOOM_CACHE")):
        (FOLDER / name).mkdir()
        environment[variable] = str(FOLDER / name)
    code = subprocess.run(["bash", FOLDER / "commands.sh"], cwd=checkout, env=environment, check=False).returncode
    if code:
        print(f"a command of README.md ended with {code}; everything is left in {FOLDER.relative_to(ROOT)}")
    else:
        shutil.rmtree(FOLDER, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
