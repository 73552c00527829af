"""Seeds that processes derive alike."""

from fedapi.wire.seeds import derived


def test_seeds_depend_on_everything_and_stay_the_same():
    assert derived(7, "train", "site-a", 3) == derived(7, "train", "site-a", 3)
    others = {derived(7, "train", "site-a", 3), derived(8, "train", "site-a", 3), derived(7, "train", "site-a", 4)}
    assert len(others) == 3
    assert all(0 <= seed < 2**63 for seed in others)
