"""Entry point of `fedloom`: runs a command and turns errors into one line and an exit code."""

import signal
import sys
from types import FrameType


def main() -> None:
    """2: the input is wrong and nothing was done; 1: it could not be done; 130: it was stopped."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stopped)  # also while modules are loaded; a run has handlers of its own
    from fedapi.printable import printable  # noqa: PLC0415
    from fedcli.commands import app  # noqa: PLC0415
    from fedcli.errors import CommandError  # noqa: PLC0415
    from fedlocal.errors import BadInputError, LocalError  # noqa: PLC0415

    try:
        app()
    except BadInputError as error:
        for text in map(str, error.problems) if error.problems else [str(error)]:
            print(printable(text), file=sys.stderr)
        sys.exit(2)
    except (LocalError, CommandError) as error:
        print(printable(str(error)), file=sys.stderr)
        sys.exit(1)


def _stopped(_number: int, _frame: FrameType | None) -> None:
    sys.exit(130)


if __name__ == "__main__":
    main()
