"""`python3 -m tests.servers tools`: makes the programs that tests of stores and queues start. Needs no package installed."""

import sys

from tests.cluster.errors import CannotRunError, ClusterError
from tests.cluster.shell import say
from tests.servers import programs


def main(words: list[str]) -> int:
    if words != ["tools"]:
        say("usage: python3 -m tests.servers tools")
        return 2
    try:
        programs.install()
    except ClusterError as error:
        say(str(error))
        return 2 if isinstance(error, CannotRunError) else 1
    return 0


sys.exit(main(sys.argv[1:]))
