"""`spec.task` of a FederatedJob: what is trained, by which image, and from which model on."""

from typing import Annotated, Literal

from pydantic import Field

from fedapi.crd.fields import (
    Part,
    Short,
    listed_by,
)
from fedapi.crd.storage import SecretRef


class AcceleratorImage(Part):
    """The task image of the sites with one kind of accelerator."""

    accelerator: Literal["CPU", "GPU", "TPU"] = Field(description="`pool.accelerator` of the FLClients that use it.")
    image: Annotated[str, Field(min_length=1, max_length=512)] = Field(
        description="Container image with Fedloom's trainer for this accelerator and the task's code."
    )


class InitialModel(Part):
    """A file that round 0's model is taken from: safetensors, or a PyTorch state dict (`torch.save(model.state_dict(), …)`)."""

    uri: Annotated[
        str,
        Field(
            min_length=2,
            max_length=1024,
            pattern=r"^(https://[^/@\s]+/\S+|s3://[^/\s]+/\S+|gs://[^/\s]+/\S+|az://[^/\s]+/[^/\s]+/\S+|/\S+)$",
        ),
    ] = Field(
        description="`https://…`, `s3://BUCKET/KEY`, `gs://BUCKET/KEY` or `az://ACCOUNT/CONTAINER/KEY` (with `?endpoint=…` "
        "and `?region=…` as a store has them), or an absolute path in the task's image. Never with a credential in it."
    )
    sha256: Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f]{64}$")] = Field(
        description="SHA-256 of the file as it is there, in hex; it is compared before anything of the file is looked at."
    )
    credentials_secret_ref: SecretRef | None = Field(
        None,
        description="Secret whose keys are files of credentials, as a store's; with https, ca.crt alone is read. Absent: "
        "what the cloud's SDK finds in the pod.",
    )


class Task(Part):
    """What is trained."""

    entrypoint: Annotated[str, Field(min_length=3, max_length=253, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")] = (
        Field(
            description="`package.module:factory`, a callable in the task image that returns a Task (see the Task API page)."
        )
    )
    image: Annotated[str, Field(min_length=1, max_length=512)] = Field(
        description="Container image with Fedloom's trainer and the task's code. The embedded runner does not use it."
    )
    images: (
        Annotated[list[AcceleratorImage], Field(max_length=3, json_schema_extra=listed_by("accelerator"))] | None
    ) = Field(None, description="Images for sites with another accelerator than the one that `image` is built for.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        None, description="When the image is pulled; as in a container's spec."
    )
    args: Annotated[
        dict[Short, Annotated[str, Field(max_length=1024)] | Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]],
        Field(max_length=32),
    ] = Field(
        default_factory=dict,
        description="Keyword arguments of the factory: strings (numbers with a fraction too) and integers, exactly as "
        "written: `$(NAME)` and `$$` are not expanded.",
    )
    initial_model: InitialModel | None = Field(
        None, description="Where training starts from; absent: from the model as the task makes it, by `seed`."
    )
