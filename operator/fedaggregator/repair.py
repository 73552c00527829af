"""`python -m fedaggregator.repair [STORE [KEY]]`: repairs the store on a volume. Run by `fedloom store repair` in a pod there."""

import sys
from collections.abc import Iterator

from fedaggregator.engine.salvage import repaired
from fedaggregator.errors import FatalError
from fedapi import names
from fedapi.outcome import Exit
from fedapi.wire import storekey
from fedapi.wire.layout import Layout
from fedstore.errors import StoreError
from fedstore.objectstore import ObjectStore
from fedstore.opening import open_store


def main(words: list[str]) -> int:
    """Repairs every job of the store; KEY is that of its ledger, as the job's status says it. The exit code is one of fedapi.outcome."""
    try:
        store = open_store(words[0] if words else names.PATH_STORE)
        for layout in sorted(set(_layouts(store)), key=lambda each: (each.namespace, each.name)):
            for line in repaired(store, layout, words[1] if len(words) > 1 else ""):
                sys.stdout.write(f"{layout.namespace}/{layout.name}: {line}\n")
    except FatalError as error:
        sys.stderr.write(f"{error}\n")
        return error.code
    except StoreError as error:
        sys.stderr.write(f"{error}\n")
        return Exit.STORE_FAILED
    return Exit.OK


def _layouts(store: ObjectStore) -> Iterator[Layout]:
    """The jobs that have objects here: one, on a volume of the operator's."""
    for prefix in ("control/", "models/"):
        for key in store.keys(prefix):
            layout = storekey.job_of(key)
            if layout is not None:
                yield layout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
