"""The seats of one worker in a generation, and the environment of the ranks that take them. Pure; for turn.py."""

from collections.abc import Mapping

from fedapi import names
from fedtrainer.errors import BadSettings
from fedtrainer.launch.generations import Generation
from fedtrainer.ring.seat import Seat
from fedtrainer.settings import TrainerSettings

MIG = "MIG-"  # how the driver's names of MIG devices begin


def seats(generation: Generation, settings: TrainerSettings) -> tuple[Seat, ...]:
    """One seat per slot of this worker; ranks are numbered worker by worker."""
    workers = [member.worker for member in generation.members]
    first = workers.index(settings.worker) * settings.ring_slots
    return tuple(
        Seat(
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


def environment(seat: Seat, threads: int, pod: Mapping[str, str]) -> dict[str, str]:
    """All that a rank's environment has beyond the pod's: its seat, its threads, its devices."""
    found = {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1", **seat.environment()}
    if seat.accelerator == "GPU":
        found |= _mig(seat, pod)
    elif seat.accelerator == "TPU":
        found |= _tpu(seat)
    return found


def _mig(seat: Seat, pod: Mapping[str, str]) -> dict[str, str]:
    """CUDA sees one MIG device per process: each rank gets its own. Whole GPUs are told apart by the local rank."""
    devices = pod.get("NVIDIA_VISIBLE_DEVICES", "").split(",")
    if not devices[0].startswith(MIG):
        return {}
    if len(devices) < seat.local_size:
        raise BadSettings(f"{names.ENV_RING_SLOTS} is {seat.local_size}, but the pod has {len(devices)} MIG devices")
    return {"CUDA_VISIBLE_DEVICES": devices[seat.local_rank]}


def _tpu(seat: Seat) -> dict[str, str]:
    """The hosts of this rank's slice, as libtpu asks for them."""
    host = seat.worker % seat.slice_hosts
    first = seat.position - host
    addresses = seat.addresses[first : first + seat.slice_hosts]
    return {"TPU_WORKER_ID": str(host), "TPU_WORKER_HOSTNAMES": ",".join(addresses)}
