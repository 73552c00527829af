# ruff: noqa: INP001, S603, T201 - a script of the images and of development, not a module
"""Makes a wheel of Horovod that fits a torch: `horovod_wheel.py PYTHON FOLDER [--nccl]` prints the wheel's path.

Horovod 0.28.1 (its last release) is a source package that asks for C++14, torch 2.9 for C++17: the standard is
raised. It leans on headers that only older compilers bring along: they are named. One behaviour is added, which the
environment variable HOROVOD_WAIT_FOR_WORK turns on: a rank waits for tensors instead of asking all others every cycle
whether there are any (WAIT below). PYTHON is an interpreter that has torch; its pip fetches the source. Needs g++,
make and Python.h; with --nccl also CUDA's toolkit (nvcc on PATH) and the NCCL that torch brought. Minutes of work,
so the wheel is kept under the cache root (FEDLOOM_CACHE), keyed by what it was made from. Used by `make test-gpu`,
tools/dev_environment.py and the Dockerfile beside it; needs no package installed.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HOROVOD = "0.28.1"
STANDARD = 17  # C++ that torch 2.9's headers need
STANDARDS = {
    "CMakeLists.txt": "CMAKE_CXX_STANDARD 14",
    "horovod/torch/CMakeLists.txt": "CMAKE_CXX_STANDARD 14",
    "horovod/common/ops/cuda/CMakeLists.txt": "CMAKE_CUDA_STANDARD 11",
}
# Headers that Horovod uses without asking for them: since GCC 13 no other header brings them along.
INCLUDED = " ".join(
    f"-include {name}" for name in ("algorithm", "cstdint", "functional", "memory", "stdexcept", "string")
)
BUILD_TOOLS = ("setuptools<81", "wheel", "packaging", "cloudpickle", "cmake<4")
FLAGS = {
    "HOROVOD_WITH_PYTORCH": "1",
    "HOROVOD_WITHOUT_TENSORFLOW": "1",
    "HOROVOD_WITHOUT_MXNET": "1",
    "HOROVOD_WITHOUT_MPI": "1",
    "HOROVOD_WITH_GLOO": "1",
}
GLOO = {"HOROVOD_CPU_OPERATIONS": "GLOO"}
NCCL = {"HOROVOD_GPU_OPERATIONS": "NCCL"}
# Compute capabilities that get machine code, where nvcc knows them; newer GPUs translate that of the last.
GPUS = (70, 75, 80, 86, 89, 90, 100, 120)

# File of the source -> text -> what it becomes. Ranks that all bring the same tensors need no agreement while nobody
# has any: the rank that is first waits in the next agreement for the others, for gloo's timeout at most. Asking a
# thousand times a second, as Horovod does, costs two ranks on two cores a sixth of their time.
WAIT = {
    "horovod/common/tensor_queue.h": {
        "#include <iostream>\n": "#include <chrono>\n#include <condition_variable>\n#include <iostream>\n",
        "  void RemoveJoinTensor();\n": "  void RemoveJoinTensor();\n\n"
        "  // Whether there are tensors; waits for them no longer than this.\n"
        "  bool WaitForTensors(std::chrono::milliseconds longest);\n",
        "  mutable std::mutex mutex_;\n": "  mutable std::mutex mutex_;\n\n  std::condition_variable arrived_;\n",
    },
    "horovod/common/tensor_queue.cc": {
        "  message_queue_.push(std::move(message));\n  return Status::OK();\n": "  message_queue_.push(std::move(message));\n"
        "  arrived_.notify_one();\n  return Status::OK();\n",
        "    message_queue_.push(std::move(messages[i]));\n  }\n": "    message_queue_.push(std::move(messages[i]));\n  }\n"
        "  arrived_.notify_one();\n",
        "// Add a TensorTableEntry as well as its message to the queue.\n": "bool TensorQueue::WaitForTensors(std::chrono::milliseconds longest) {\n"
        "  std::unique_lock<std::mutex> lock(mutex_);\n"
        "  return arrived_.wait_for(lock, longest, [this] { return !tensor_table_.empty(); });\n}\n\n"
        "// Add a TensorTableEntry as well as its message to the queue.\n",
    },
    "horovod/common/operations.cc": {
        "  state.last_cycle_start = std::chrono::steady_clock::now();\n\n  if (state.mark_cycles_in_timeline)": ""
        '  static const bool wait_for_work = std::getenv("HOROVOD_WAIT_FOR_WORK") != nullptr;\n'
        "  if (wait_for_work && !state.dynamic_process_sets) {\n"
        "    auto& queue = state.process_set_table.Get(0).tensor_queue;\n"
        "    while (!state.shut_down && !queue.WaitForTensors(std::chrono::milliseconds(10))) {\n    }\n  }\n"
        "  state.last_cycle_start = std::chrono::steady_clock::now();\n\n  if (state.mark_cycles_in_timeline)",
    },
}

ABOUT = """
import json, sys, sysconfig, importlib.metadata as metadata, importlib.util as modules
nccl = modules.find_spec("nvidia.nccl") if modules.find_spec("nvidia") else None
print(json.dumps({"torch": metadata.version("torch"), "python": sys.implementation.cache_tag,
                  "headers": sysconfig.get_path("include"), "nccl": next(iter(nccl.submodule_search_locations), "") if nccl else ""}))
"""


def cache_root() -> Path:
    """Where everything that may be deleted is kept."""
    fallback = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fedloom"
    return Path(os.environ.get("FEDLOOM_CACHE") or fallback)


def flags(*, nccl: bool) -> dict[str, str]:
    """Horovod's build switches."""
    return FLAGS | GLOO | (NCCL if nccl else {})


def made_from(*, nccl: bool = False) -> str:
    """Everything but the machine and its torch that a wheel depends on."""
    return json.dumps([HOROVOD, STANDARD, WAIT, flags(nccl=nccl), *((GPUS, STANDARDS) if nccl else ())])


def cached(python: Path, *, nccl: bool = False) -> Path:
    """The folder where the wheel for this interpreter's torch is, or will be."""
    found = about(python)
    machine = [found["torch"], found["python"], platform.machine(), *platform.libc_ver()]
    key = hashlib.sha256(json.dumps([made_from(nccl=nccl), machine]).encode()).hexdigest()[:12]
    return cache_root() / "horovod" / key


def about(python: Path) -> dict[str, str]:
    """Versions of the interpreter and its torch, and where its headers and its NCCL are."""
    done = subprocess.run([python, "-c", ABOUT], check=True, capture_output=True, text=True)
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


def wheel(python: Path, *, nccl: bool = False) -> Path:
    """The wheel, from the cache or made now. A build that fails shows its output and ends the program."""
    folder = cached(python, nccl=nccl)
    if not (found := sorted(folder.glob("horovod-*.whl"))):
        check_tools(python, nccl=nccl)
        print(f"building Horovod {HOROVOD} (3 minutes on 2 cores, once)", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="horovod-") as work:
            made = build(python, Path(work), nccl=nccl)
            folder.mkdir(parents=True, exist_ok=True)
            part = folder / f"{made.name}.part"
            shutil.copy(made, part)
            part.replace(folder / made.name)
        found = [folder / made.name]
    return found[-1]


def check_tools(python: Path, *, nccl: bool) -> None:
    """Ends with one line when a compiler or what it reads is not there."""
    lacks = [program for program in ("g++", "make", *(("nvcc",) if nccl else ())) if not shutil.which(program)]
    if not header(python).exists():
        lacks.append(f"Python.h (Debian: python3-dev; looked for {header(python)})")
    if lacks:
        sys.exit(f"building Horovod needs {', '.join(lacks)}: install what is missing")


def header(python: Path) -> Path:
    """Where the interpreter's Python.h is, or would be."""
    return Path(about(python)["headers"]) / "Python.h"


def build(python: Path, work: Path, *, nccl: bool) -> Path:
    """Fetches, changes and builds in a folder of its own."""
    tools = work / "tools"
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    environment = os.environ | flags(nccl=nccl)
    environment |= {"PYTHONPATH": str(tools), "PATH": f"{tools / 'bin'}:{os.environ.get('PATH', os.defpath)}"}
    environment |= {name: f"{os.environ.get(name, '')} {INCLUDED}".strip() for name in ("CXXFLAGS", "CUDAFLAGS")}
    environment |= {"MAKEFLAGS": os.environ.get("MAKEFLAGS") or f"-j{os.cpu_count() or 1}"}
    if nccl:
        environment |= nccl_home(Path(about(python)["nccl"]), work / "nccl")
        listed = subprocess.run(["nvcc", "--list-gpu-code"], check=True, capture_output=True, text=True).stdout  # noqa: S607
        environment["HOROVOD_BUILD_CUDA_CC_LIST"] = ",".join(map(str, known(listed)))
    log = work / "build.log"
    steps = (
        [*pip, "install", "--target", str(tools), *BUILD_TOOLS],
        [*pip, "download", "--no-deps", "--no-build-isolation", "--no-binary=horovod", f"horovod=={HOROVOD}",
         "--dest", str(work)],
        ["tar", "-xzf", str(work / f"horovod-{HOROVOD}.tar.gz"), "-C", str(work)],
    )  # fmt: skip
    for step in steps:
        call(step, environment, log)
    source = work / f"horovod-{HOROVOD}"
    raise_standard(source)
    teach_waiting(source)
    out = work / "out"
    call([*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-cache-dir", "--verbose",
          "--wheel-dir", str(out), str(source)], environment, log)  # fmt: skip
    (made,) = out.glob("horovod-*.whl")
    return made


def known(listed: str) -> list[int]:
    """Of GPUS those that nvcc makes code for; `listed` is what it says: sm_75, sm_80, … CUDA 13 has no sm_70."""
    return [number for number in GPUS if f"sm_{number}" in listed.split()]


def raise_standard(source: Path) -> None:
    """Torch's headers need a newer C++ than Horovod's build files ask for; CUDA's compiler then speaks the same."""
    for name, old in STANDARDS.items():
        file = source / name
        changed, count = re.subn(rf"set\({old}\)", f"set({old.split()[0]} {STANDARD})", file.read_text())
        if count != 1:
            sys.exit(f"{name} of Horovod {HOROVOD} is not as it was: no single {old} in it")
        file.write_text(changed)


def teach_waiting(source: Path) -> None:
    """Puts the changes of WAIT in."""
    for name, changes in WAIT.items():
        text = (source / name).read_text()
        for old, new in changes.items():
            if text.count(old) != 1:
                sys.exit(f"{name} of Horovod {HOROVOD} is not as it was: not exactly one {old.splitlines()[0]!r} in it")
            text = text.replace(old, new)
        (source / name).write_text(text)


def nccl_home(installed: Path, folder: Path) -> dict[str, str]:
    """The NCCL of torch's own wheels, laid out as Horovod looks for it: ranks then share one NCCL with torch."""
    library = installed / "lib" / "libnccl.so.2"
    if not library.exists():
        sys.exit("--nccl: this interpreter's torch has no NCCL (nvidia-nccl-cu12, nvidia-nccl-cu13)")
    (folder / "lib").mkdir(parents=True)
    (folder / "include").symlink_to(installed / "include")
    for name in ("libnccl.so", "libnccl.so.2"):
        (folder / "lib" / name).symlink_to(library)
    return {"HOROVOD_NCCL_HOME": str(folder), "HOROVOD_NCCL_LINK": "SHARED"}


def call(command: list[str], environment: dict[str, str], log: Path) -> None:
    """Runs one step; its output is shown when it fails."""
    with log.open("ab") as sink:
        code = subprocess.run(command, env=environment, stdout=sink, stderr=sink, check=False).returncode
    if code:
        lines = log.read_text(errors="replace").splitlines()
        shown = [*(line for line in lines[:-20] if "error: " in line), *lines[-20:]]
        sys.exit("\n".join([*shown, f"{' '.join(command[1:5])} … ended with {code}"]))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Makes a wheel of Horovod that fits a torch.")
    parser.add_argument("python", type=Path, help="interpreter that has torch and pip")
    parser.add_argument("folder", type=Path, help="where the wheel is put")
    parser.add_argument("--nccl", action="store_true", help="all-reduce on GPUs by NCCL; needs nvcc on PATH")
    arguments = parser.parse_args()
    made = wheel(arguments.python, nccl=arguments.nccl)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print(shutil.copy(made, arguments.folder))


if __name__ == "__main__":
    main()
