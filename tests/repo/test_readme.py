"""README.md is for somebody who has nothing yet: each of its commands is run somewhere, and installs what it needs."""

import os
import re
import subprocess
import sys

import pytest
import yaml

from tests.cluster import tools
from tools.readme_commands import ROOT, STEPS, commands, script, step_of

PAGE = (ROOT / "README.md").read_text()
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
VENV, CLUSTER, CLIENTS = "tools/dev_environment.py", "-m tests.cluster tools --full", "-m tests.cluster tools --clients"
# What a target runs -> what has to be there before.
NEEDS = {
    r"\.venv/bin/": VENV,
    r"tests\.cluster (up|images)|tests\.bench|tools\.demo_cluster|test_repeat": CLUSTER,
}
INSTALLS_ALL = "tools/test_all.sh"


@pytest.fixture
def newcomer(tmp_path):
    """The environment of somebody whose cache and HOME are empty."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FEDLOOM_", "MAKE", "XDG_"))}
    return kept | {"HOME": str(tmp_path / "home"), "FEDLOOM_CACHE": str(tmp_path / "cache")}


def would_run(environment, target, **more):
    words = ["make", "--dry-run", "--no-print-directory", target]
    return subprocess.run(
        words, cwd=ROOT, env=environment | more, check=True, capture_output=True, text=True
    ).stdout.splitlines()


def test_every_command_is_run_by_the_check_or_has_a_reason():
    unknown = [command for command in commands(PAGE) if step_of(command) is None]
    assert unknown == [], "add them to tools/readme_commands.py"
    named = {step_of(command) for command in commands(PAGE)}
    assert [step.begins for step in STEPS if step not in named] == [], "README.md names them no longer"


def test_the_script_of_the_check_is_one_and_holds_whole_commands():
    done = subprocess.run(["bash", "-n"], input=script(PAGE), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nEND\n" in script(PAGE)
    assert "--set image.tag=dev" in script(PAGE)


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_installs_what_it_needs_before_it_needs_it(newcomer, target):
    lines = would_run(newcomer, target)
    for number, line in enumerate(lines):
        for needs, installs in NEEDS.items():
            if re.search(needs, line):
                before = "\n".join(lines[:number])
                assert installs in before or INSTALLS_ALL in before, f"make {target}: {line}"


def test_the_script_of_make_test_installs_first():
    text = (ROOT / "tools" / "test_all.sh").read_text()
    first_use = min(text.index(word) for word in (".venv/bin", "tests.cluster status"))
    assert text.index("make --silent cluster-tools") < text.index("make --silent install") < first_use


def test_a_cluster_of_the_user_needs_two_clients_and_no_local_cluster(newcomer):
    lines = would_run(newcomer, "demo-cluster", FEDLOOM_KUBECONFIG="/home/me/.kube/config")
    assert any(CLIENTS in line for line in lines)
    assert not any(CLUSTER in line for line in lines)


def test_the_machines_own_clients_are_taken_and_nothing_is_built(newcomer, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in tools.CLIENTS:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    environment = newcomer | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    code = "from tests.cluster import tools; tools.install_clients(); print(*map(tools.client, tools.CLIENTS))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == [str(folder / name) for name in tools.CLIENTS]
    assert not (tmp_path / "cache").exists()


def test_each_program_of_the_cluster_is_built_from_a_module_of_the_pins():
    assert [tools._module(program).rsplit("/", 1)[1] for program in tools.PROGRAMS] == [*tools.PROGRAMS]


def test_the_manifest_is_short_and_valid(tmp_path):
    (command,) = (each for each in commands(PAGE) if each.startswith("kubectl apply"))
    manifest = command.partition("\n")[2].rpartition("\n")[0]
    assert len(manifest.splitlines()) <= 20
    assert [document["kind"] for document in yaml.safe_load_all(manifest)] == ["FLClient", "FederatedJob"]
    (tmp_path / "manifest.yaml").write_text(manifest)
    validated = [sys.executable, "-m", "fedcli", "validate", str(tmp_path)]
    done = subprocess.run(validated, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 0, done.stdout + done.stderr
