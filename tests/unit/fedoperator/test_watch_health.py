"""Whether every watch is alive."""

from fedoperator.handlers.runtime import streams
from fedoperator.watch_health import Stream, WatchHealth


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_health_needs_a_sign_of_life_from_every_watch():
    clock = Clock()
    both = streams(("a", "b"))
    health = WatchHealth(both, silence_s=180, clock=clock)
    assert (health.synced(), health.silent(), health.ages_s()) == (False, [], {}), "a standby has no watches"
    health.begin()
    for stream in both:
        health.heard(stream, watching=False)
    assert not health.synced(), "lists are in, watches are not"
    for stream in both:
        health.heard(stream, watching=True)
    assert health.synced()
    clock.now += 200
    for stream in both:
        if stream != Stream("Pod", "b"):
            health.heard(stream, watching=True)
    assert health.silent() == ["Pod"], "one silent namespace is enough"
    assert health.ages_s()["Pod"] == 200
