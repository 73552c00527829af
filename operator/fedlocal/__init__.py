"""The embedded runner: FederatedJob manifests on this machine, without Kubernetes.

An in-memory cluster (cluster.py) that the operator's own decide() works on, and a small kubelet that turns
Deployments and Jobs into processes of the real aggregator and trainer. Called by fedcli.
"""
