"""What an aggregator signs of a commit, by the key of the job's ledger: a statement as canonical JSON. Pure.

HEAD carries the signature of the commit that it names, and that commit binds all before it. Purposes separate the domains: it is none
over a checkpoint, which is text that begins with its origin, and none over what sites sign (statement.py).
"""

import rfc8785

PURPOSE = "fedloom.dev/signed-commit/v1"


def statement(job_uid: str, round_: int, commit_sha256: str) -> bytes:
    """Of a commit, by the digest of its stored bytes."""
    return rfc8785.dumps(
        {"purpose": PURPOSE, "job_uid": job_uid, "round": round_, "commit_sha256": commit_sha256},
    )
