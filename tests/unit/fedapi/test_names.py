"""Names of child objects stay legal, short and apart, whatever the users' names are."""

import re

from hypothesis import given
from hypothesis import strategies as st

from fedapi import names

DNS_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
job_names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?", fullmatch=True)
client_names = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,60}[a-z0-9])?", fullmatch=True)


@given(job=job_names, client=client_names)
def test_child_names_are_legal(job, client):
    assert len(names.training_job_name(job, client, "template")) <= names.MAX_JOB_NAME
    for name in (
        names.aggregator_name(job),
        names.training_job_name(job, client, "template"),
        names.init_job_name(job, names.digest8("template")),
        names.aggregator_secret_name(job, "uid"),
        names.site_secret_name(job, client, "uid"),
        names.store_claim_name(job, "uid"),
    ):
        assert DNS_LABEL.match(name), name
        assert len(name) <= 63
    assert re.search(names.STORE_CLAIM_PATTERN, names.store_claim_name(job, "uid"))


def test_long_names_with_equal_beginnings_stay_apart():
    stem = "a" * 60
    assert names.training_job_name("job", stem + "1", "t") != names.training_job_name("job", stem + "2", "t")
    assert names.site_secret_name("job", stem + "1", "uid") != names.site_secret_name("job", stem + "2", "uid")
    assert names.store_claim_name("job", "uid-1") != names.store_claim_name("job", "uid-2")


def test_a_recreated_job_shares_no_secret_with_its_predecessor():
    for stem in ("job", "a" * 52):
        assert names.aggregator_secret_name(stem, "uid-1") != names.aggregator_secret_name(stem, "uid-2")
        assert names.site_secret_name(stem, "a" * 60, "uid-1") != names.site_secret_name(stem, "a" * 60, "uid-2")
        assert names.aggregator_secret_name(stem, "uid-1") != names.aggregator_secret_name(stem, "uid-1", "keys")
        assert names.site_secret_name(stem, "a", "uid-1") != names.site_secret_name(stem, "a", "uid-1", "keys")


def test_a_changed_template_changes_the_job_name():
    assert names.training_job_name("job", "site", "one") != names.training_job_name("job", "site", "two")
