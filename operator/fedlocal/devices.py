"""What this machine has of what sites' pools ask for, and what stands in for the rest. Called by runner.py and localnode.py.

A pool of GPUs or TPU chips is tried here without them: its ranks compute on the CPU and meet over Gloo. Whoever
has the devices gets them. Nothing is replaced in silence: the notes are shown before anything starts.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from fedapi import names
from fedapi.crd.flclient import FLClientSpec
from fedapi.jsonvalue import Json
from fedoperator.desired.pool import Shape

Environment = Mapping[str, str]
ENV_PJRT = "PJRT_DEVICE"  # of torch_xla: TPU on a TPU machine; CPU runs the same programs without one
_COUNT_GPUS = "import torch; print(torch.cuda.device_count())"


@dataclass(frozen=True)
class Machine:
    """What is here."""

    gpus: int = 0  # that torch can use
    horovod: bool = False
    torch_xla: bool = False
    cores: int = 1

    @classmethod
    async def look(cls, *, gpus: bool) -> "Machine":
        """Looks. GPUs, which takes loading torch, only where some site asks for them."""
        count = await _gpus() if gpus else 0
        return cls(count, _installed("horovod"), _installed("torch_xla"), os.cpu_count() or 1)


@dataclass(frozen=True)
class StandIn:
    """Variables of a pod to be set instead of the pool's, and why."""

    env: dict[str, str]
    notes: tuple[str, ...] = ()


def on_one_machine(spec: Json) -> Json:
    """An FLClient's spec without TPU slices of several hosts, which one machine cannot stand for: as many CPU workers."""
    pool = FLClientSpec.model_validate(spec).pool
    shape = Shape.of(pool)
    if shape.hosts == 1:
        return spec
    kept = {name: value for name, value in spec["pool"].items() if name not in ("tpu", "count", "collective")}
    joined = {"collective": pool.collective} if pool.collective not in (None, "XLA") else {}
    return spec | {"pool": kept | joined | {"accelerator": "CPU", "workers": shape.workers}}


def stand_in(env: Environment, machine: Machine) -> StandIn:
    """For the environment of a site's training pod."""
    accelerator, collective = env.get(names.ENV_ACCELERATOR, "CPU"), env.get(names.ENV_COLLECTIVE, "Horovod")
    workers, slots = int(env.get(names.ENV_RING_WORKERS, "1")), int(env.get(names.ENV_RING_SLOTS, "1"))
    put: dict[str, str] = {}
    notes = []
    if accelerator == "GPU" and machine.gpus < slots:
        put |= {names.ENV_ACCELERATOR: "CPU", names.ENV_BACKEND: "Gloo"}
        notes.append(
            f"its pool asks for GPUs ({slots} per worker), torch finds {machine.gpus} here: it trains on the CPU"
        )
    elif accelerator == "GPU" and workers > 1:
        put |= {names.ENV_BACKEND: "Gloo"}  # the workers share this machine's GPUs, which NCCL refuses
    if accelerator == "TPU" and (why := _no_xla(env, machine)):
        put |= {names.ENV_ACCELERATOR: "CPU"}
        notes.append(f"its pool asks for a TPU slice, but {why}: it trains on the CPU")
        collective = "Horovod" if collective == "XLA" else collective
    ranks = workers * slots
    if ranks > 1 and collective == "Horovod" and not machine.horovod:
        collective = "TorchDistributed"
        notes.append("Horovod is not installed here: its ranks are joined by TorchDistributed")
    if collective != env.get(names.ENV_COLLECTIVE, collective):
        put |= {names.ENV_COLLECTIVE: collective}
    if ranks > machine.cores:
        notes.append(f"it has {ranks} ranks, each a process, and there are {machine.cores} cores: it will be slow")
    return StandIn(put, tuple(notes))


def _no_xla(env: Environment, machine: Machine) -> str:
    """Why XLA cannot drive the site's devices here; empty when it can."""
    if not env.get(ENV_PJRT):
        return f"{ENV_PJRT} is not set (spec.data.env: CPU runs the TPU's programs without one)"
    return "" if machine.torch_xla else "torch_xla is not installed here"


def _installed(package: str) -> bool:
    return find_spec(package) is not None


async def _gpus() -> int:
    """Asks torch in a process of its own: the runner never loads it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", _COUNT_GPUS, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return int(output) if process.returncode == 0 else 0
