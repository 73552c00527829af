"""`make audit`: known vulnerabilities of the packages that constraints.txt pins, by pip-audit and the OSV database.

It asks a service on the internet, so no test runs it. Exit codes: 0 none is known; 1 some are, each is named; 3 nothing is known,
because the program could not be had or the database could not be asked.
"""

import json
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "images" / "trainer")]

import horovod_wheel  # noqa: E402 - a script of the trainer's image, standard library only

PROGRAM = "pip-audit==2.10.1"  # in an environment of its own: its dependencies are not ours
CLEAN, VULNERABLE, UNKNOWN = 0, 1, 3
_LAST_LINES = 3  # of what it says on an error


def main() -> int:
    """Runs it, says what was found, and returns the exit code."""
    try:
        answer = _asked(_program(horovod_wheel.cache_root() / "audit" / PROGRAM.replace("==", "-")))
    except (OSError, subprocess.SubprocessError) as error:
        print(f"nothing is known: {PROGRAM} cannot be installed ({error})", file=sys.stderr)
        return UNKNOWN
    code, lines = verdict(answer.stdout, answer.stderr)
    print("\n".join(lines), file=sys.stderr if code else sys.stdout)
    return code


def verdict(stdout: str, stderr: str) -> tuple[int, list[str]]:
    """What the program's output means. It ends with 1 both where it found something and where it could not ask: only JSON tells."""
    try:
        dependencies = json.loads(stdout)["dependencies"]
    except (ValueError, LookupError, TypeError):
        said = stderr.strip().splitlines()[-_LAST_LINES:] or ["it said nothing"]
        return UNKNOWN, ["nothing is known: the vulnerability database could not be asked:", *said]
    skipped = [
        f"{each['name']}: not looked up: {each['skip_reason']}" for each in dependencies if "skip_reason" in each
    ]
    found = list(_found(dependencies))
    if found:
        return VULNERABLE, [*found, *skipped]
    if skipped:
        return UNKNOWN, skipped
    return CLEAN, [f"no known vulnerability in {len(dependencies)} packages"]


def _found(dependencies: list[dict[str, Any]]) -> Iterator[str]:
    for each in dependencies:
        for known in each.get("vulns", ()):
            mended = ", ".join(known.get("fix_versions") or ()) or "no version yet"
            yield f"{each['name']} {each['version']}: {known['id']}, mended in {mended}"


def _program(home: Path) -> Path:
    """The program in its environment, which is made where it is not there."""
    program = home / "bin" / "pip-audit"
    if not program.exists():
        venv.create(home, with_pip=True, clear=True)
        command = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", PROGRAM]
        subprocess.run(command, check=True)
    return program


def _asked(program: Path) -> "subprocess.CompletedProcess[str]":
    pinned = ["--requirement", str(ROOT / "constraints.txt"), "--no-deps", "--disable-pip"]
    command = [str(program), *pinned, "--vulnerability-service", "osv", "--format", "json", "--progress-spinner", "off"]
    return subprocess.run(command, check=False, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main())
