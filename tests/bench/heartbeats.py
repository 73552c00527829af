"""`python -m tests.bench.heartbeats KUBECONFIG NAMESPACE SITES`: that many sites speak to one aggregator, until it is ended.

The aggregator's own pace and adapter, without its engine and HTTPS port. Each site asks for work every 20 s, as trainers
do; all of them begin at once. Run by site_registry.py.
"""

import asyncio
import random
import sys
import time

from kubernetes import client, config

from fedaggregator.adapters.kubernetes import KubernetesStatus
from fedaggregator.heartbeats import Heartbeats
from fedaggregator.patience import Patience

_POLL_S = 20.0


async def _speak(beats: Heartbeats, site: str, chance: random.Random) -> None:
    while True:
        beats.heard(site)
        await asyncio.sleep(_POLL_S * chance.uniform(0.9, 1.1))


async def play(kubeconfig: str, namespace: str, sites: int) -> None:
    """Until it is cancelled."""
    loaded = client.Configuration()
    config.load_kube_config(kubeconfig, client_configuration=loaded)
    sink = KubernetesStatus(namespace, "crowd", "uid", client.ApiClient(loaded))
    beats = Heartbeats(time.time, sink, Patience(time.time))
    async with asyncio.TaskGroup() as speaking:
        for number in range(sites):
            speaking.create_task(_speak(beats, f"site-{number:04d}", random.Random(number)))


if __name__ == "__main__":
    asyncio.run(play(sys.argv[1], sys.argv[2], int(sys.argv[3])))
