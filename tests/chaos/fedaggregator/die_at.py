"""Runs the aggregator and kills it (exit 137, no cleanup) at one named call: `die_at.py module:Class.method before|after N [WHAT [WORDS]]`.

Of calls with a WHAT, a regular expression, those alone count that have it in their arguments. With WORDS it is fedbackup that
runs, with these as its own.

The production code has no test hook: the named function is wrapped here, before the program starts.
"""

import importlib
import itertools
import os
import re
import sys


def main() -> None:
    target, when, count = sys.argv[1:4]
    what = re.compile(sys.argv[4] if len(sys.argv) > 4 else "")
    module_name, _, path = target.partition(":")
    owner = importlib.import_module(module_name)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original, calls = getattr(owner, name), itertools.count(1)

    def wrapped(*args, **kwargs):
        counts = what.search(repr(args)) is not None
        due = counts and next(calls) == int(count)  # each call has its own number, in whatever thread it is made
        if due and when == "before":
            os._exit(137)
        result = original(*args, **kwargs)
        if due:
            os._exit(137)
        return result

    setattr(owner, name, wrapped)
    for module in list(sys.modules.values()):  # in a fork of a preloaded process some have it by its name already
        for known, value in list(getattr(module, "__dict__", {}).items()):
            if value is original:
                setattr(module, known, wrapped)
    words = sys.argv[5:]
    program = importlib.import_module("fedbackup.__main__" if words else "fedaggregator.__main__")
    sys.exit(program.main(words) if words else program.main())


main()
