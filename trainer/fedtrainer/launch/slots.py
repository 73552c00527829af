"""The slots of one worker in a generation, and the environment of the ranks that take them. Pure; for participation.py."""

from collections.abc import Mapping

from fedapi import names
from fedtrainer.errors import BadSettingsError
from fedtrainer.launch.generations import Generation
from fedtrainer.ring.slot import Slot
from fedtrainer.settings import TrainerSettings

MIG = "MIG-"  # how the driver's names of MIG devices begin


def slots(generation: Generation, settings: TrainerSettings) -> tuple[Slot, ...]:
    """One slot per slot of this worker; ranks are numbered worker by worker."""
    workers = [member.worker for member in generation.members]
    first = workers.index(settings.worker) * settings.ring_slots
    return tuple(
        Slot(
            generation=generation.number,
            rank=first + slot,
            size=len(workers) * settings.ring_slots,
            local_rank=slot,
            local_size=settings.ring_slots,
            worker=settings.worker,
            addresses=tuple(member.address for member in generation.members),
            store_port=generation.members[0].store_port,
            accelerator=settings.accelerator,
            collective=settings.collective,
            backend=settings.backend,
            slice_hosts=settings.ring_slice_hosts,
            timeout_s=settings.ring_timeout_s,
        )
        for slot in range(settings.ring_slots)
    )


def environment(slot: Slot, threads: int, pod: Mapping[str, str]) -> dict[str, str]:
    """All that a rank's environment has beyond the pod's: its slot, its threads, its devices."""
    found = {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1", **slot.environment()}
    if slot.accelerator == "GPU":
        found |= _mig(slot, pod)
    elif slot.accelerator == "TPU":
        found |= _tpu(slot)
    return found


def _mig(slot: Slot, pod: Mapping[str, str]) -> dict[str, str]:
    """CUDA sees one MIG device per process: each rank gets its own. Whole GPUs are told apart by the local rank."""
    devices = pod.get("NVIDIA_VISIBLE_DEVICES", "").split(",")
    if not devices[0].startswith(MIG):
        return {}
    if len(devices) < slot.local_size:
        raise BadSettingsError(
            f"{names.ENV_RING_SLOTS} is {slot.local_size}, but the pod has {len(devices)} MIG devices"
        )
    return {"CUDA_VISIBLE_DEVICES": devices[slot.local_rank]}


def _tpu(slot: Slot) -> dict[str, str]:
    """The hosts of this rank's slice, as libtpu asks for them."""
    host = slot.worker % slot.slice_hosts
    first = slot.position - host
    addresses = slot.addresses[first : first + slot.slice_hosts]
    return {"TPU_WORKER_ID": str(host), "TPU_WORKER_HOSTNAMES": ",".join(addresses)}
