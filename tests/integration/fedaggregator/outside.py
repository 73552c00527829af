"""The aggregator's program with a kubeconfig in place of a pod's account, and a Lease of seconds. Run by test_fenced_store.py."""

import os
import sys
from functools import partial

from kubernetes import config

from fedaggregator import __main__, lease, solewriter
from fedstore import s3

WRITE_S = 4


def times() -> lease.Terms:
    return lease.Terms(lasts_s=16.0, trusted_s=6.0, renewed_s=0.5)


if __name__ == "__main__":
    config.load_incluster_config = lambda: config.load_kube_config(os.environ["KUBECONFIG"])
    solewriter.JobLease = partial(lease.JobLease, terms=times())
    s3.WRITE_S = WRITE_S
    sys.exit(__main__.main())
