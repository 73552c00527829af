"""What sub-models a job has, as its initial model says. Called by folding.py and intake.py, which judge and fold updates by it.

The file is read once by a process, all of it, to know that it is what was committed.
"""

from fedaggregator.engine import content
from fedaggregator.engine.payloads import Payloads
from fedaggregator.errors import DamagedError
from fedapi.wire.message import ObjectRef
from fedcore.tensors import submodels
from fedcore.tensors.submodels import Widths
from fedcore.tensors.tensorfile import MalformedTensorFileError


def widths(payloads: Payloads, initial: ObjectRef | None) -> Widths:
    """By width the tensors that are smaller; none where no plan names an initial model. DamagedError when it is not what was committed."""
    if initial is None:
        return {}
    if initial.sha256 not in payloads.widths:
        with payloads.committed(initial) as reader:
            if trouble := reader.trouble():
                raise DamagedError({initial.key: trouble})
            try:
                payloads.widths[initial.sha256] = submodels.widths(content.read_header(reader))
            except MalformedTensorFileError as error:
                raise DamagedError({initial.key: str(error)}) from error
    return payloads.widths[initial.sha256]
