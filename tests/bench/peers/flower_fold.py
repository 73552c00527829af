"""Flower's FedAvg.aggregate_train on replies as they arrive: for each line of its input prints the seconds of one fold.

`python flower_fold.py FILE…`, run by fold_peers.py with the Python of Flower's own environment. The updates are safetensors
files with float32 alone; update number i has the weight i + 1. Replies hold arrays as bytes, as Flower moves them.
"""

import sys
import time

from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.common import Metadata
from flwr.serverapp.strategy import FedAvg
from tensors import digest, read


def reply(index, update):
    """Of one site."""
    arrays = ArrayRecord({name: Array(value) for name, value in update.items()})
    content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": index + 1})})
    about = {
        "run_id": 1,
        "message_id": f"m{index}",
        "src_node_id": index + 1,
        "dst_node_id": 0,
        "reply_to_message_id": "",
    }
    about |= {"group_id": "1", "created_at": time.time(), "ttl": 3600.0, "message_type": "train"}
    return Message(content, metadata=Metadata(**about))


replies = [reply(index, read(path)) for index, path in enumerate(sys.argv[1:])]
strategy = FedAvg()
print("ready", flush=True)
for _ in sys.stdin:
    started = time.perf_counter()
    arrays, _ = strategy.aggregate_train(1, replies)
    seconds = time.perf_counter() - started
    print(seconds, digest({name: value.numpy() for name, value in arrays.items()}), flush=True)
