"""Flower's simulation engine with a task as trivial as tasks/addone.py: prints the seconds of each round as a JSON list.

`python flower_app.py SITES ROUNDS`, run by flower.py with the Python of Flower's own environment.
"""

import json
import sys
import time

import numpy as np
from flwr.app import ArrayRecord, MetricRecord, RecordDict
from flwr.app import Message as FlowerMessage
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

SITES, ROUNDS = int(sys.argv[1]), int(sys.argv[2])
ended = []
client, server = ClientApp(), ServerApp()


class Timed(FedAvg):
    """Notes when each round's updates have been summed."""

    def aggregate_train(self, server_round, replies):
        """The round's end."""
        replies = list(replies)
        done = super().aggregate_train(server_round, replies)
        failed = sum(reply.has_error() for reply in replies)
        if failed or len(replies) != SITES:
            raise RuntimeError(f"round {server_round}: {len(replies)} replies, {failed} of them errors")
        ended.append(time.monotonic())
        return done


@client.train()
def train(message, _context):
    """Adds one."""
    arrays = [each + 1 for each in message.content["arrays"].to_numpy_ndarrays()]
    metrics = MetricRecord({"num-examples": 1})
    return FlowerMessage(RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=message)


@server.main()
def main(grid, _context):
    """All sites in every round, and nothing evaluated."""
    strategy = Timed(fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=SITES, min_available_nodes=SITES)
    first = ArrayRecord([np.zeros(9, dtype=np.float32)])
    started = time.monotonic()
    final = strategy.start(grid, first, num_rounds=ROUNDS).arrays.to_numpy_ndarrays()[0]
    if not np.allclose(final, ROUNDS):
        raise RuntimeError(f"the model is {final} after {ROUNDS} rounds of adding one")
    print(json.dumps([end - begin for begin, end in zip([started, *ended], ended, strict=False)]))


if __name__ == "__main__":
    run_simulation(server, client, SITES, "ray", {"client_resources": {"num_cpus": 1}})
