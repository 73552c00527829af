"""`python3 -m tests.cluster VERB`: the local Kubernetes of this project's tests. See README.md.

Parses words and prints answers; the work is in the modules beside it. Needs no package installed.
"""

import argparse
import sys
from pathlib import Path

from tests.cluster import images, lifecycle, prune, tools
from tests.cluster.errors import CannotRunError, ClusterError
from tests.cluster.paths import dirs
from tests.cluster.shell import say


def main(words: list[str]) -> int:
    options = _parser().parse_args(words)
    try:
        _do(options)
    except CannotRunError as error:
        say(str(error))
        return 2
    except ClusterError as error:
        say(str(error))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tests.cluster", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    made = verbs.add_parser("tools", help="install Debian packages and build Kubernetes' programs")
    made.add_argument("--full", action="store_true", help="refuse at once where no full cluster can run")
    made.add_argument("--clients", action="store_true", help="kubectl and helm alone, for a cluster that is there")
    up = verbs.add_parser("up", help="start a cluster; does nothing when it runs")
    up.add_argument("--api-only", action="store_true", help="etcd and API server alone, on loopback, for any user")
    up.add_argument("--controllers", action="store_true", help="with --api-only: the controller manager too")
    up.add_argument("--images-of", default="", metavar="NAME", help="begin with the images of this full cluster")
    down = verbs.add_parser("down", help="end a cluster and everything it left")
    down.add_argument("--images", action="store_true", help="forget its images, too")
    build = verbs.add_parser("images", help="build the images and hand them to the cluster")
    build.add_argument("--only", default=",".join(images.OWN), help=f"some of {','.join(images.OWN)}")
    build.add_argument("--wheel", type=Path, help="instead of the newest one in dist/")
    build.add_argument("--context", type=Path, help="build this folder's Dockerfile instead")
    build.add_argument("--tag", help="with --context: the image's name, such as localhost/my-task:dev")
    build.add_argument("--base", default="trainer", help="with --context: what it is built on (trainer or trainer-tpu)")
    status = verbs.add_parser("status", help="exit status 0 when the cluster is up and answers, 1 when not")
    where = verbs.add_parser("kubeconfig", help="print the path of the kubeconfig")
    for verb in (up, down, build, status, where):
        verb.add_argument("--name", default="fedloom")
    verbs.add_parser("env", help="print shell lines that put kubectl and helm on PATH")
    verbs.add_parser("prune", help="remove images, build caches and the state of clusters that are down")
    return parser


def _do(options: argparse.Namespace) -> None:
    match options.verb:
        case "tools" if options.clients:
            tools.install_clients()
        case "tools":
            tools.check_machine(api_only=not options.full)
            tools.install()
        case "up":
            how = {"api_only": options.api_only, "controllers": options.controllers}
            print(lifecycle.up(options.name, **how, images_of=options.images_of).kubeconfig)
        case "down":
            lifecycle.down(options.name, images=options.images)
        case "images":
            _images(options)
        case "status":
            print(lifecycle.status(options.name))
        case "kubeconfig":
            print(dirs(options.name).kubeconfig)
        case "env":
            print(f'export PATH="{tools.folder() / "bin"}:$PATH"')
            print(f'export KUBECONFIG="{dirs("fedloom").kubeconfig}"')
        case "prune":
            prune.prune()


def _images(options: argparse.Namespace) -> None:
    if (options.context is None) != (options.tag is None):
        raise CannotRunError("--context and --tag go together")
    if options.context:
        images.build_context(options.name, options.context, options.tag, options.base)
    else:
        images.build_own(options.name, tuple(options.only.split(",")), options.wheel)


sys.exit(main(sys.argv[1:]))
