"""Readings of the table: states follow the clock, a failure keeps the last one for a while, an old one says nothing."""

import asyncio

from fedapi.wire.registry import Capability, Claims
from fedregistry.readings import Readings
from fedstore.errors import StoreFailedError
from fedstore.memory_sites import MemorySites


class Flaky(MemorySites):
    """Fails when it is told to."""

    broken = False

    def settle(self, now):
        if self.broken:
            raise StoreFailedError("throttled")
        return super().settle(now)


def test_what_is_read_is_answered_until_it_is_too_old():
    table, now = Flaky(), [1000.0]
    readings = Readings(table, 30.0, lambda: now[0])
    assert readings.sites() is None, "nothing was read yet"
    table.heard("ns/a", Claims(capability=Capability(cpu="2")), 1000.0)
    asyncio.run(readings.read())
    assert [(site.client_id, site.status) for site in readings.sites().sites] == [("ns/a", "Active")]
    table.broken, now[0] = True, 1100.0
    asyncio.run(readings.read())
    assert readings.sites().at == 1000.0
    now[0] = 1121.0
    assert readings.sites() is None, "nobody is called silent because the table is"
    table.broken, now[0] = False, 1300.0
    asyncio.run(readings.read())
    assert readings.sites().sites[0].status == "Inactive"
