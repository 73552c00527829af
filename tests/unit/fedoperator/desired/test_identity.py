"""Names and labels of children."""

from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s


def test_labels_and_names_stay_within_their_limits():
    clients = tuple(s.site(name, pool={"workers": 2}) for name in s.LONG[:3])
    decision = decide(s.observe(s.job(meta={"name": "j" * 52}), clients), s.NOW)
    metadata = [o["metadata"] for o in decision.objects]
    assert {o["kind"] for o in decision.objects} >= {"Job", "Role", "Service", "NetworkPolicy", "PersistentVolumeClaim"}
    assert max(len(value) for each in metadata for value in each["labels"].values()) <= 63
    assert max(len(each["name"]) for each in (*metadata, *({"name": r.name} for r in decision.secrets))) <= 63
