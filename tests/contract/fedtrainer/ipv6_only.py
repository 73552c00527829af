"""Two ranks on a machine without IPv4 but for its loopback: `unshare --net python -m tests.contract.fedtrainer.ipv6_only NAME`.

Makes the interface that a pod of an IPv6-only cluster has, in the network namespace that it is started in.
"""

import json
import subprocess
import sys

from tests.contract.fedtrainer.group import RankGroup

ADDRESS = "fd77::5"
INTERFACES = (
    "link set lo up",
    "link add eth0 type veth peer name eth1",
    "link set eth1 up",
    "link set eth0 up",
    f"-6 addr add {ADDRESS}/64 dev eth0 nodad",
)


def main() -> None:
    for words in INTERFACES:
        subprocess.run(["ip", *words.split()], check=True, capture_output=True, timeout=30)
    with RankGroup(size=2, here=ADDRESS, timeout_s=60.0, collective=sys.argv[1]) as group:
        said = group.started()
        if all("result" in each for each in said):
            said = group.answers("sums", "int32", 70_000)
    print(json.dumps(said))


if __name__ == "__main__":
    main()
