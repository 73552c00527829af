"""What a certificate adds to a token: both must be of one site, in this job, and the certificate must not have ended."""

import pytest

from fedaggregator.adapters.certificates import Certified
from fedaggregator.adapters.tokens import Tokens
from fedaggregator.errors import RequestRefusedError
from fedaggregator.ports import INITIALIZER, ClientCertificate, Holder, Shown
from fedapi.wire import subjects
from fedapi.wire.tokens import init_token, site_token

KEY, NOW = b"k" * 32, 1_000_000.0
SITE = subjects.site("uid", "a")


def identity(*, required):
    return Certified(Tokens(KEY), "uid", lambda: required, lambda: NOW)


def shown(*subjects_, token=None, ends=NOW + 60):
    header = {"authorization": f"Bearer {token or site_token(KEY, 'a')}"}
    return Shown("POST", "/", header, ClientCertificate(subjects_, ends) if subjects_ else None)


@pytest.mark.parametrize(
    ("named", "doubt"),
    [
        ((SITE,), ""),
        (
            (subjects.site("uid", "b"),),
            "not of spiffe://fedloom/job/uid/site/a, but of spiffe://fedloom/job/uid/site/b",
        ),
        ((subjects.site("other", "a"),), "but of spiffe://fedloom/job/other/site/a"),
        ((subjects.init("uid"),), "but of spiffe://fedloom/job/uid/init"),
    ],
)
@pytest.mark.parametrize("required", [False, True])
def test_a_certificate_that_is_shown_is_of_the_tokens_site(required, named, doubt):
    told = identity(required=required).doubt("a", shown(*named))
    assert doubt in told
    assert bool(told) is bool(doubt)


def test_none_is_enough_unless_it_is_required():
    assert identity(required=False).doubt("a", shown()) == ""
    assert "clients.certificates is Required" in identity(required=True).doubt("a", shown())


@pytest.mark.parametrize("required", [False, True])
def test_a_certificate_alone_proves_nothing(required):
    assert "the token is not" in identity(required=required).doubt("a", shown(SITE, token=site_token(KEY, "b")))


def test_the_init_step_has_its_own():
    init = shown(subjects.init("uid"), token=init_token(KEY))
    assert identity(required=True).init_doubt(init) == ""
    assert "not of" in identity(required=False).init_doubt(shown(SITE, token=init_token(KEY)))


def test_urls_are_for_whom_they_were_made():
    required = identity(required=True)
    assert required.url_doubt(Holder("a", 1, 1), shown(SITE)) == ""
    assert "not of" in required.url_doubt(Holder("b", 1, 1), shown(SITE))
    assert "shows no certificate" in required.url_doubt(Holder("a"), shown())
    assert required.url_doubt(INITIALIZER, shown(subjects.init("uid"))) == ""


@pytest.mark.parametrize(("ended_s_ago", "refused"), [(-1, False), (299, False), (301, True)])
def test_a_connection_that_outlives_its_certificate_is_asked_to_come_anew(ended_s_ago, refused):
    late = shown(SITE, ends=NOW - ended_s_ago)
    if not refused:
        assert identity(required=True).doubt("a", late) == ""
        return
    with pytest.raises(RequestRefusedError, match="connect anew") as told:
        identity(required=False).doubt("a", late)
    assert told.value.refusal.code == "Busy", "the trainer comes again"
