"""The local cluster's own tools, on a machine that is slow or that somebody else left in the middle of something."""

from tests import ports
from tests.cluster import builder


def test_no_test_is_given_the_port_that_images_are_pushed_to():
    fixed = int(builder.PUSH_TO.rpartition(":")[2])
    assert not ports.LOWEST <= fixed <= ports.HIGHEST
