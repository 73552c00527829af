"""`python3 -m tests.servers tools`: makes the programs that tests of stores and queues start. Needs no package installed.

`python -m tests.servers s3 FOLDER`: an S3 server over TLS with one bucket, to try stores on a laptop; until it is interrupted.
"""

import signal
import sys
from contextlib import suppress
from pathlib import Path

from tests.cluster.errors import CannotRunError, ClusterError
from tests.cluster.shell import say
from tests.servers import programs

_SECRET = "fedloom-store-laptop"


def main(words: list[str]) -> int:
    try:
        match words:
            case ["tools"]:
                programs.install()
            case ["s3", folder]:
                _serve(Path(folder))
            case _:
                say("usage: python3 -m tests.servers tools | s3 FOLDER")
                return 2
    except ClusterError as error:
        say(str(error))
        return 2 if isinstance(error, CannotRunError) else 1
    return 0


def _serve(folder: Path) -> None:
    import yaml

    from tests.servers import weed
    from tests.servers.s3server import REGION, ROOT, SECRET

    with weed.serving(folder) as server:
        ca = Path(server.ca or "").read_text()
        keys = {"AWS_ACCESS_KEY_ID": ROOT, "AWS_SECRET_ACCESS_KEY": SECRET, "ca.crt": ca}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": _SECRET}, "stringData": keys}
        (folder / "secret.yaml").write_text(yaml.safe_dump(secret))
        server.credentials(folder / "credentials")
        place = {"bucket": server.bucket(), "region": REGION, "endpoint": server.endpoint}
        storage = {"s3": place | {"credentialsSecretRef": {"name": _SECRET}}}
        print(
            f"serves {server.place(place['bucket'])} until Ctrl-C; commands take --credentials {folder}/credentials.\n"
            f"Put {folder}/secret.yaml beside your manifests, and into the spec of the FederatedJob:\n\n"
            f"{yaml.safe_dump({'storage': storage}, sort_keys=False)}",
            flush=True,
        )
        with suppress(KeyboardInterrupt):
            signal.pause()


sys.exit(main(sys.argv[1:]))
