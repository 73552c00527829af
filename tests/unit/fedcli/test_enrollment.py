"""`fedloom site enroll`, `join`, `approve`, `deny` of an FLClient in a manifest: what one prints is what the next one takes."""

import stat
from datetime import UTC, datetime

import pytest
import yaml
from typer.testing import CliRunner

from fedapi.crd.flclient import FLClientSpec
from fedapi.wire.enrollment import JoinToken
from fedapi.wire.signing import SigningKey
from fedcli import join
from fedcli.commands import app
from fedcli.errors import CommandError
from fedlocal.errors import BadInputError
from fedoperator.key_material import Keys


@pytest.fixture
def hub(tmp_path):
    """A folder with the FLClient and the hub's CA."""
    (tmp_path / "ca.pem").write_bytes(Keys.generated(datetime.now(UTC)).ca_cert)
    body = {
        "apiVersion": "fedloom.dev/v1alpha1",
        "kind": "FLClient",
        "metadata": {"name": "berlin", "namespace": "hospitals"},
    }
    write(tmp_path, body | {"spec": {"provider": "OnPremises"}})
    return tmp_path


def write(hub, body):
    (hub / "berlin.yaml").write_text(yaml.safe_dump(body))


def run(*words, **options):
    done = CliRunner().invoke(app, ["site", *map(str, words)], catch_exceptions=True, **options)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout, done.stderr


def take_over(hub, out):
    """The change that was printed, as a person merges it into the manifest."""
    body = yaml.safe_load((hub / "berlin.yaml").read_text())
    body["spec"] |= yaml.safe_load(out)["spec"]
    body["spec"] = {name: value for name, value in body["spec"].items() if value is not None}
    write(hub, body)
    return FLClientSpec.model_validate(body["spec"])


def enrolled(hub, *words):
    """The token; the hub's manifest has it open."""
    out, _ = run("enroll", "berlin", "--manifest", hub / "berlin.yaml", "--ca", hub / "ca.pem", *words)
    change, _, command = out.rpartition("fedloom site join ")
    take_over(hub, change)
    return command.strip()


def joined(folder, token):
    folder.mkdir(exist_ok=True)
    return run("join", token, "--file", folder / "signing.key", "--ca", folder / "ca.crt")


def approve(hub, request, *words, **options):
    return run("approve", "berlin", "--manifest", hub / "berlin.yaml", "--request", request.strip(), *words, **options)


def test_the_way_of_a_site(hub):
    token = enrolled(hub)
    request, told = joined(hub / "site", token)
    key = SigningKey.of_pem((hub / "site/signing.key").read_bytes())
    assert stat.S_IMODE((hub / "site/signing.key").stat().st_mode) == 0o600
    assert (hub / "site/ca.crt").read_bytes() == (hub / "ca.pem").read_bytes()
    assert key.id in told
    assert token not in request + told
    out, told = approve(hub, request, "--key-id", key.id)
    assert (
        f"nothing is changed yet: with the change above in the manifest hospitals/berlin signs by key id {key.id}"
        in told
    )
    spec = take_over(hub, out)
    assert [each.public_key for each in spec.identity.keys] == [key.public_key]
    assert spec.enrollment is None
    assert "is one of hospitals/berlin already" in approve(hub, request)[0]


def test_a_site_whose_join_was_cut_off_asks_again_for_the_key_that_it_has(hub):
    token = enrolled(hub)
    first, _ = joined(hub / "site", token)
    again, told = joined(hub / "site", token)
    assert again == first
    assert "its key is asked for, and none is made" in told


def test_a_thief_of_the_token_has_another_key_id(hub):
    token = enrolled(hub)
    joined(hub / "site", token)
    stolen, _ = joined(hub / "thief", token)
    mine = SigningKey.of_pem((hub / "site/signing.key").read_bytes()).id
    with pytest.raises(CommandError, match="somebody else has the token"):
        approve(hub, stolen, "--key-id", mine)
    with pytest.raises(CommandError, match="compare the key id with the site's owner"):
        approve(hub, stolen, input="n\n")
    with pytest.raises(CommandError, match="compare the key id"):
        approve(hub, stolen)  # nobody is there to be asked


def test_a_person_may_say_yes(hub):
    request, _ = joined(hub / "site", enrolled(hub))
    out, told = approve(hub, request, input="y\n")
    assert "publicKey" in out
    assert "Did the site's owner tell you that key id?" in told


def test_of_two_that_join_one_is_let_in(hub):
    token = enrolled(hub)
    requests = [joined(hub / name, token)[0] for name in ("one", "two")]
    ids = [SigningKey.of_pem((hub / name / "signing.key").read_bytes()).id for name in ("one", "two")]
    take_over(hub, approve(hub, requests[0], "--key-id", ids[0])[0])
    with pytest.raises(CommandError, match="no token of hospitals/berlin is out"):
        approve(hub, requests[1], "--key-id", ids[1])


def test_a_second_token_makes_the_first_one_void(hub):
    request, _ = joined(hub / "site", enrolled(hub))
    enrolled(hub)
    with pytest.raises(CommandError, match="by another token"):
        approve(hub, request, "--key-id", "x")


def test_what_is_denied_stays_out(hub):
    request, _ = joined(hub / "site", enrolled(hub))
    out, told = run("deny", "berlin", "--manifest", hub / "berlin.yaml")
    assert yaml.safe_load(out) == {"spec": {"enrollment": {"joinToken": None}}}
    assert "nothing is changed yet: with the change above in the manifest the token of hospitals/berlin is void" in told
    take_over(hub, out)
    with pytest.raises(CommandError, match="no token of hospitals/berlin is out"):
        approve(hub, request)
    assert "nothing to do" in run("deny", "berlin", "--manifest", hub / "berlin.yaml")[0]


def test_a_token_that_was_changed_on_its_way_is_noticed(hub):
    """Who swaps the CA wants the site to trust another hub."""
    given = JoinToken.of_text(enrolled(hub))
    swapped = JoinToken(given.site, given.not_after, Keys.generated(datetime.now(UTC)).ca_cert, given.key)
    request, _ = joined(hub / "site", swapped.text())
    with pytest.raises(CommandError, match="changed on its way"):
        approve(hub, request)


def test_an_ended_token_makes_no_key(hub, monkeypatch):
    token = enrolled(hub, "--expires", "1m")

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2099, 1, 1, tzinfo=tz)

    monkeypatch.setattr(join, "datetime", Later)
    with pytest.raises(CommandError, match="TOKEN has ended"):
        joined(hub / "site", token)
    assert list((hub / "site").iterdir()) == []


def test_another_hub_s_ca_is_not_written_over(hub):
    token = enrolled(hub)
    (hub / "site").mkdir()
    (hub / "site/ca.crt").write_text("of another hub")
    with pytest.raises(CommandError, match="has other certificates than the token"):
        joined(hub / "site", token)
    assert not (hub / "site/signing.key").exists()


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("enroll", "berlin", "--manifest", "HUB/berlin.yaml"), "--manifest needs --ca"),
        (("enroll", "berlin", "--manifest", "HUB/berlin.yaml", "--ca", "HUB/berlin.yaml"), "no CA certificate in PEM"),
        (("enroll", "berlin", "--manifest", "HUB/berlin.yaml", "--ca", "HUB/none"), "name the hub's CA certificates"),
        (("enroll", "bern", "--manifest", "HUB/berlin.yaml", "--ca", "HUB/ca.pem"), "has no FLClient bern"),
        (("enroll", "berlin", "--manifest", "HUB", "--ca", "HUB/ca.pem", "--expires", "30s"), "1m to 720h"),
        (("enroll", "berlin", "--manifest", "HUB", "--ca", "HUB/ca.pem", "--expires", "soon"), "not a duration"),
        (("approve", "berlin", "--manifest", "HUB", "--request", "hello"), "does not begin with fedloom-request-1"),
        (("join", "hello"), "TOKEN: it does not begin with fedloom-join-1"),
    ],
)
def test_what_is_wrong_is_named(hub, words, fault):
    with pytest.raises(BadInputError, match=fault):
        run(*(each.replace("HUB", str(hub)) for each in words))
