"""The JobSet of several slices."""

from fedapi import names
from fedoperator.desired import jobs
from tests.unit.fedoperator.desired import manifests as m


def test_the_jobset_of_several_slices():
    pool = m.tpu("2x4", workers=4, queueName="tpus")
    job = m.rendered(pool, jobset=True)
    (slices,) = job["spec"]["replicatedJobs"]
    assert (slices["replicas"], slices["template"]["spec"]["completions"]) == (2, 2)
    assert "metadata" not in slices["template"], "child Jobs without our labels: only the JobSet is watched"
    env = m.env(job)
    assert env[names.ENV_RING_SLICE] == "metadata.labels['jobset.sigs.k8s.io/job-index']"
    assert env[names.ENV_RING_LEADER].startswith(f"{job['metadata']['name']}-slice-0-0.")
    assert (env[names.ENV_RING_WORKERS], env[names.ENV_RING_SLICE_HOSTS]) == ("4", "2")
    assert jobs.created(job)["spec"]["suspend"] is True
    assert jobs.belongs_to_queue(job)
    assert m.rendered(pool)["kind"] == "Job"
    assert m.rendered(m.tpu("2x2", workers=2), jobset=True)["kind"] == "Job"
