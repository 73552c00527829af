"""The same consortium with secure aggregation, or encrypted sums: keys for the four hospitals, and manifests whose aggregator sees sums alone.

    python prepare.py && python secure.py /tmp/secure && fedloom run /tmp/secure    # here, without a cluster
    python secure.py /tmp/secure --epsilon 60                                      # with noise of the sites, too
    python secure.py /tmp/encrypted --encrypted                                    # encrypted sums in the place of masks

Here one person makes all keys. In earnest each hospital makes its own (`fedloom site key new`, or `fedloom site join`), keeps the private
half, and is told the others' public halves by their owners. The folder then holds secrets: it is made for its owner alone.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
PARTNERS = "partners"  # the ConfigMap with all hospitals' public keys
SECURE = {"threshold": 3, "exchangeTimeout": "30s"}
ROUND = {"quorum": 3, "graceAfterQuorum": "1m", "deadline": "10m"}

Document = dict[str, Any]
Keys = dict[str, tuple[Document, Document]]  # of each hospital


def documents(epsilon: float | None = None, *, encrypted: bool = False, keys: Keys | None = None) -> list[Document]:
    """The example's manifests, changed, with Secrets of keys and the ConfigMap of their public halves. `keys`: in the place of new ones."""
    bodies = [body for name in ("sites.yaml", "job.yaml") for body in yaml.safe_load_all((HERE / name).read_text())]
    secrets, public = [], {}
    for body in bodies:
        if body["kind"] != "FLClient":
            body["spec"] |= {"privacy": privacy(epsilon, encrypted=encrypted), "round": ROUND}
            continue
        name = body["metadata"]["name"]
        secret, identity = (keys or {}).get(name) or key(name)
        public[name] = identity["keys"][0]["publicKey"]
        body["spec"]["identity"] = identity | {"peers": {"configMapRef": {"name": PARTNERS}}}
        secrets.append(secret)
    partners = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": PARTNERS}, "data": public}
    return [*secrets, partners, *bodies]


def privacy(epsilon: float | None, *, encrypted: bool) -> Document:
    """`spec.privacy`. Four hospitals are few: an epsilon that means much would leave no model."""
    kind = "homomorphicEncryption" if encrypted else "secureAggregation"
    asked = SECURE if encrypted else SECURE | {"colluding": 1}
    if epsilon is None:
        return {kind: asked | {"valueRange": "4"}}
    noise = {"mode": "Distributed", "clipNorm": "0.5", "targetEpsilon": f"{epsilon:g}", "delta": "0.01"}
    return {kind: asked, "differentialPrivacy": noise}


def key(name: str) -> tuple[Document, Document]:
    """A new key as a Secret, and the `spec.identity` that goes with it."""
    command = [sys.executable, "-m", "fedcli", "site", "key", "new", name, "--secret"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return yaml.safe_load(done.stdout), yaml.safe_load(done.stderr)["spec"]["identity"]


def kept(manifests: Path) -> Keys:
    """The keys of an earlier run: whoever knows their public halves need not be told others."""
    bodies = list(yaml.safe_load_all(manifests.read_text())) if manifests.exists() else []
    secrets, clients = ([body for body in bodies if body["kind"] == kind] for kind in ("Secret", "FLClient"))
    return {
        client["metadata"]["name"]: (secret, {"keys": client["spec"]["identity"]["keys"]})
        for secret, client in zip(secrets, clients, strict=True)
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Writes a folder for `fedloom run`, and for `kubectl apply -f`.")
    parser.add_argument("out", type=Path, help="the folder")
    parser.add_argument("--epsilon", type=float, help="noise of the sites, up to this epsilon of a site")
    parser.add_argument("--encrypted", action="store_true", help="encrypted sums in the place of masks")
    arguments = parser.parse_args()
    manifests = arguments.out / "manifests.yaml"
    keys = kept(manifests)
    bodies = documents(arguments.epsilon, encrypted=arguments.encrypted, keys=keys)
    arguments.out.mkdir(mode=0o700, parents=True, exist_ok=True)
    manifests.write_text(yaml.safe_dump_all(bodies, sort_keys=False))
    shutil.copy(HERE / "heart_disease.py", arguments.out)
    shutil.copytree(HERE / "volumes", arguments.out / "volumes", dirs_exist_ok=True)
    print(f"{manifests}: with {'the keys that were there' if keys else 'new keys'}")


if __name__ == "__main__":
    main()
