"""Pools and training settings that a site may and may not ask for: (accepted, refused, words of the refusal)."""

GPU = {"accelerator": "GPU", "resourceName": "nvidia.com/gpu", "count": 1}
EIGHT = GPU | {"count": 8}
MIG = GPU | {"resourceName": "nvidia.com/mig-1g.5gb"}


def tpu(type_="tpu-v5-lite-podslice", topology="4x4", **more):
    return {"accelerator": "TPU", "tpu": {"type": type_, "topology": topology}} | more


POOLS = [
    # Kinds of device.
    (GPU, {"accelerator": "GPU"}, ["spec.pool", "needs resourceName and count", "nvidia.com/gpu"]),
    ({"accelerator": "CPU"}, GPU | {"accelerator": "CPU"}, ["spec.pool", "takes no resourceName and no count"]),
    (GPU | {"resourceName": "amd.com/gpu"}, GPU | {"resourceName": "gpu"}, ["spec.pool.resourceName", "gpu"]),
    (GPU | {"resourceName": "nvidia.com/mig-1g.5gb"}, GPU | {"resourceName": "x/y/z"}, ["spec.pool.resourceName"]),
    (GPU | {"count": 16}, GPU | {"count": 17}, ["spec.pool.count", "16"]),
    (GPU, GPU | {"count": 0}, ["spec.pool.count", "greater than or equal to 1"]),
    (tpu(), {"accelerator": "TPU"}, ["spec.pool", "TPU needs tpu (type and topology)"]),
    (tpu(), tpu(accelerator="CPU"), ["spec.pool", "tpu goes with accelerator TPU alone"]),
    (GPU, GPU | {"tpu": tpu()["tpu"]}, ["spec.pool", "tpu goes with accelerator TPU alone"]),
    (tpu(), tpu(resourceName="nvidia.com/gpu"), ["spec.pool.resourceName", "a pool has GPUs or TPUs, not both"]),
    (GPU, GPU | {"accelerator": "Quantum"}, ["spec.pool.accelerator", "Quantum", "CPU"]),
    # Slices.
    (tpu("tpu-v6e-slice", "2x4"), tpu("tpu-v9-slice", "2x4"), ["spec.pool.tpu.type", "tpu-v9-slice", "tpu-v6e-slice"]),
    (tpu("tpu-v4-podslice", "2x2x4"), tpu("tpu-v4-podslice", "4x4"), ["tpu.topology is not one of tpu.type"]),
    (
        tpu("tpu7x", "2x2x1"),
        tpu("tpu-v5-lite-podslice", "2x2x1"),
        ["spec.pool.tpu.topology", "see the table of slices"],
    ),
    (tpu("tpu-v6e-slice", "16x16"), tpu("tpu-v6e-slice", "5x5"), ["spec.pool.tpu.topology", "is not one of"]),
    (tpu(topology="2x4", count=8), tpu(topology="4x4", count=8), ["spec.pool.count", "does not fit tpu.topology"]),
    (tpu(topology="1x1", count=1), tpu(topology="1x1", count=4), ["spec.pool.count", "1 for one chip, else 4"]),
    (tpu(topology="2x2", count=4), tpu(topology="2x2", count=16), ["spec.pool.count", "with 2x4 also 8"]),
    (tpu(topology="2x2"), tpu(topology="two"), ["spec.pool.tpu.topology", "two"]),
    (tpu("tpu-v5p-slice", "2x2x2"), tpu("tpu-v5p-slice", "2x2x2", count=8), ["spec.pool.count"]),
    # Workers.
    ({"workers": 2}, {"workers": 0}, ["spec.pool.workers", "greater than or equal to 1"]),
    ({"workers": 256}, {"workers": 257}, ["spec.pool.workers", "256"]),
    (tpu(workers=8), tpu(workers=6), ["spec.pool.workers", "multiple of the slice's hosts", "remove workers"]),
    (tpu(topology="2x4", count=8, workers=3), tpu(topology="2x4", workers=3), ["spec.pool.workers", "multiple of"]),
    ({"workers": 4, "minWorkers": 2}, {"workers": 2, "minWorkers": 3}, ["minWorkers is above workers: lower it"]),
    ({"minWorkers": 1}, {"minWorkers": 2}, ["spec.pool.minWorkers", "raise workers"]),
    (
        tpu(topology="2x2", workers=2, minWorkers=1),
        tpu(workers=8, minWorkers=4),
        ["spec.pool.minWorkers", "a slice cannot do without a host"],
    ),
    (tpu(topology="1x1", workers=2), tpu(topology="1x1", workers=2, minWorkers=3), ["is at most workers"]),
    (EIGHT | {"slotsPerWorker": 4}, EIGHT | {"slotsPerWorker": 9}, ["slotsPerWorker is above count", "GPU of its own"]),
    ({"slotsPerWorker": 4}, {"slotsPerWorker": 0}, ["spec.pool.slotsPerWorker"]),
    (tpu(slotsPerWorker=1), tpu(slotsPerWorker=4), ["spec.pool.slotsPerWorker", "one rank drives all TPU chips"]),
    # What joins the ranks.
    (
        EIGHT | {"collective": "Horovod"},
        EIGHT | {"collective": "XLA"},
        ["XLA goes with accelerator TPU", "use Horovod"],
    ),
    (
        tpu(workers=8, collective="Horovod"),
        tpu(workers=8, collective="XLA"),
        ["spec.pool.collective", "joins the hosts of one slice", "join the slices by Horovod"],
    ),
    (tpu(collective="XLA"), tpu(collective="Gossip"), ["spec.pool.collective", "Gossip", "TorchDistributed"]),
    (EIGHT | {"backend": "NCCL"}, tpu(backend="NCCL"), ["spec.pool.backend", "NCCL needs accelerator GPU"]),
    (MIG, MIG | {"backend": "NCCL"}, ["spec.pool.backend", "NCCL cannot join MIG devices"]),
    (tpu(backend="Gloo"), {"backend": "NCCL"}, ["spec.pool.backend", "use Auto or Gloo"]),
    # The rest.
    (GPU | {"queueName": "gpu-team"}, GPU | {"queueName": "GPU team"}, ["spec.pool.queueName", "GPU team"]),
    (GPU | {"spot": True}, GPU | {"spot": "often"}, ["spec.pool.spot", "boolean"]),
]

# (path, accepted, refused, words of the refusal)
TRAINING = [
    (
        "spec.training",
        {"batchPer": "Rank", "learningRateScaling": "Linear", "warmupSteps": 500},
        {"learningRateScaling": "Linear"},
        ["spec.training.learningRateScaling", "learningRateScaling goes with batchPer Rank"],
    ),
    ("spec.training.lifetime", "Round", "Day", ["spec.training.lifetime", "Day"]),
    ("spec.training.mixedPrecision", "BFloat16", "Int4", ["spec.training.mixedPrecision", "Int4", "Float16"]),
    ("spec.training.gradientAccumulationSteps", 8, 0, ["spec.training.gradientAccumulationSteps"]),
    ("spec.training.warmupSteps", 0, -1, ["spec.training.warmupSteps"]),
    ("spec.training.checkpointEvery", "1m", "0s", ["spec.training.checkpointEvery", "longer than zero"]),
    ("spec.training.determinism", "Warn", "Off", ["spec.training.determinism", "Off", "Strict"]),
    ("spec.queueName", "shared", "no queue", ["spec.queueName", "no queue"]),
    (
        "spec.task.images",
        [{"accelerator": "GPU", "image": "g"}, {"accelerator": "TPU", "image": "t"}],
        [{"accelerator": "GPU", "image": "g"}, {"accelerator": "GPU", "image": "h"}],
        ["spec.task.images[1]", "Duplicate value"],
    ),
]
