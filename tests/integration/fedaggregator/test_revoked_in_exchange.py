"""A site's key is revoked between two steps of an exchange under masks: it is heard no more, and nobody waits for it."""

import httpx
import pytest

from fedapi.wire.secureround import SecureAnswer
from fedapi.wire.site import Refusal
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, config
from tests.integration.fedaggregator.masking import STEPS, masked, masking_sites
from tests.integration.fedaggregator.signing import public
from tests.waiting import PATIENCE_S, until

CLIENTS = ("a", "b", "c", "d", "e")


@pytest.mark.parametrize(("step", "others"), [("Share", ["a", "c", "d", "e"]), ("Consent", [*CLIENTS])])
def test_the_others_go_on_at_once(tmp_path, step, others):
    job = JobFolder(tmp_path, config(CLIENTS, rounds=1, quorum=4, **masked(*CLIENTS)))
    with Aggregator(job).ready():
        sites = masking_sites(job)
        for site in sites:
            site.next(0.0)
        orders = {site.client: site.next().train for site in sites}
        for at in STEPS[: STEPS.index(step)]:
            for site in sites:
                answer = SecureAnswer.told(site.asked(orders[site.client]).content)
                assert answer.step == at
                site.go_on(orders[site.client], answer)
        last = SecureAnswer.told(sites[1].asked(orders["b"]).content)
        revoked = {**job.config.identities, "b": (public(sites[1].key, revoked=True),)}
        job.write_config(job.config.model_copy(update={"identities": revoked}))
        until(lambda: SecureAnswer.told(sites[1].asked(orders["b"]).content).step == "Over")
        with pytest.raises(httpx.HTTPStatusError) as error:
            sites[1].go_on(orders["b"], last)
        assert Refusal.told(error.value.response.content).code == "RevokedKey"
        threads = [site.start() for site in sites if site.client != "b"]
        for thread in threads:
            thread.join(PATIENCE_S)
        until(lambda: "outcome" in job.status())
    assert [commit.attempt for commit in job.commits()] == [0, 1]
    assert [each.client for each in job.commits()[1].participants] == others
