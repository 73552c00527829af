"""A run whose sites have to show certificates: each trains in a process of its own, and nothing else is different."""

from tests.integration.fedlocal.runs import SITES, Lab, finish, job


def test_the_model_is_the_same_with_certificates(tmp_path):
    digests = []
    for required in ("Optional", "Required"):
        lab = Lab.of(tmp_path / required, job(rounds=2, clients={"certificates": required}), *SITES)
        code, output = finish(lab.start())
        assert code == 0, output
        digests.append(lab.digest())
        shown = {path.parent.name for path in lab.state.rglob("tls.crt") if path.parent.name.endswith("-site")}
        assert len(shown) == (len(SITES) if required == "Required" else 0)
    assert digests[0] == digests[1]
