"""Whom a client's certificate names: a site, or the init step, of one job, as a URI among its alternative names. Pure.

Written by the operator's and the embedded runner's credential shells, read by the aggregator. The form is that of a SPIFFE
ID (spiffe.io) with a trust domain of our own: the CA is one installation's.
"""

_DOMAIN = "spiffe://fedloom"


def site(job_uid: str, client: str) -> str:
    """A site in one job."""
    return f"{_DOMAIN}/job/{job_uid}/site/{client}"


def init(job_uid: str) -> str:
    """The init step of one job."""
    return f"{_DOMAIN}/job/{job_uid}/init"
