"""The trainer's Dockerfile: three targets that share layers; how its Horovod is made. gpu cannot be built without CUDA."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TRAINER = ROOT / "images" / "trainer"
sys.path.insert(0, str(TRAINER))
import horovod_wheel  # noqa: E402


def stages() -> dict[str, tuple[str, str]]:
    """Name -> what it is built on, its text."""
    text = (TRAINER / "Dockerfile").read_text()
    parts = re.split(r"^FROM (\S+) AS (\S+)$", text, flags=re.MULTILINE)
    return {name: (below, body) for below, name, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)}


def lineage(name: str) -> list[str]:
    found = stages()
    chain = [name]
    while chain[-1] in found:
        chain.append(found[chain[-1]][0])
    return chain


@pytest.mark.parametrize(
    ("target", "chain"),
    [
        ("cpu", ["cpu", "deps", "torch", "venv", "${BASE_IMAGE}"]),
        ("tpu", ["tpu", "tpu-deps", "deps", "torch", "venv", "${BASE_IMAGE}"]),
        ("gpu", ["gpu", "gpu-deps", "torch", "venv", "${BASE_IMAGE}"]),
        ("horovod-nccl", ["horovod-nccl", "torch", "venv", "${BASE_IMAGE}"]),
    ],
)
def test_targets_share_the_layer_of_torch(target, chain):
    assert lineage(target) == chain


def test_the_default_target_is_cpu_and_code_comes_last():
    found = stages()
    assert [*found][-1] == "cpu"
    for target in ("cpu", "gpu", "tpu"):
        assert found[target][1].index("fedloom-*.whl") < found[target][1].index("USER 65532:65532")
    assert [name for name, (_, body) in found.items() if "COPY fedloom-*.whl" in body] == ["gpu", "tpu", "cpu"]
    assert "--nccl" in found["horovod-nccl"][1]
    assert "COPY --from=cuda" in found["horovod-nccl"][1]
    assert "COPY --from=horovod-nccl /horovod" in found["gpu-deps"][1]


def test_the_compiler_is_of_the_cuda_that_torch_brings():
    pins = (ROOT / "constraints.txt").read_text()
    (runtime,) = re.findall(r"^nvidia-cuda-runtime-cu12==(\d+\.\d+)", pins, flags=re.MULTILINE)
    (image,) = re.findall(
        r"^ARG CUDA_IMAGE=nvidia/cuda:(\d+\.\d+)\.", (TRAINER / "Dockerfile").read_text(), flags=re.MULTILINE
    )
    assert image == runtime
    assert f"horovod=={horovod_wheel.HOROVOD}\n" in pins


def test_the_standard_is_raised_in_each_build_file_once(tmp_path):
    for name, old in horovod_wheel.STANDARDS.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"project(x)\nset({old})\n")
    horovod_wheel.raise_standard(tmp_path)
    assert "CMAKE_CXX_STANDARD 17)" in (tmp_path / "horovod/torch/CMakeLists.txt").read_text()
    assert "CMAKE_CUDA_STANDARD 17)" in (tmp_path / "horovod/common/ops/cuda/CMakeLists.txt").read_text()
    with pytest.raises(SystemExit, match="is not as it was"):
        horovod_wheel.raise_standard(tmp_path)


def test_a_wheel_with_nccl_is_another_wheel():
    python = Path(sys.executable)
    assert horovod_wheel.cached(python) != horovod_wheel.cached(python, nccl=True)
    assert horovod_wheel.flags(nccl=True)["HOROVOD_GPU_OPERATIONS"] == "NCCL"
    assert list(horovod_wheel.cached(python).glob("horovod-*.whl")), "the development environment made it"


@pytest.mark.parametrize(
    ("nvcc", "made"),
    [
        ("12.8: sm_50 sm_70 sm_75 sm_80 sm_86 sm_89 sm_90 sm_90a sm_100 sm_120", [70, 75, 80, 86, 89, 90, 100, 120]),
        ("13.0: sm_75\nsm_80\nsm_86\nsm_87\nsm_89\nsm_90\nsm_100\nsm_120\n", [75, 80, 86, 89, 90, 100, 120]),
    ],
)
def test_machine_code_is_made_for_gpus_that_the_compiler_knows(nvcc, made):
    assert horovod_wheel.known(nvcc) == made


def test_without_a_compiler_one_line_says_what_to_install(monkeypatch, tmp_path):
    done = subprocess.run(
        [sys.executable, TRAINER / "horovod_wheel.py", sys.executable, tmp_path],
        capture_output=True, text=True, check=False, env={"FEDLOOM_CACHE": str(tmp_path), "PATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "building Horovod needs g++, make: install what is missing"
