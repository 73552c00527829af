"""Entry point of `fedloom`: runs a command and turns errors into one line and an exit code."""

import sys

from fedcli.commands import app
from fedcli.errors import CommandError
from fedlocal.errors import BadInputError, LocalError


def main() -> None:
    """2: the input is wrong and nothing was done; 1: it could not be done."""
    try:
        app()
    except BadInputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except (LocalError, CommandError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
