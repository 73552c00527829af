"""Policy: which stratum a site is in, for the selection policy Stratified. Used by roster.py and accepted.py.

The aggregator knows nothing of a site but what the roster says: a stratum is a name in a table there, and each site has its
number. A job of too many strata is not accepted; one that has started goes on, and the strata that are left over are one.
"""

from fedapi.crd.clients import Strata
from fedapi.crd.flclient import FLClient
from fedapi.wire.roster import MAX_STRATA
from fedoperator.decide.context import JobContext

_NONE = "-"  # of a site that does not say
_LONGEST = 253  # letters of a name


def stratum(by: Strata, client: FLClient) -> str:
    """The name of a site's stratum: its values, in the order in which `clients.stratified` asks for them."""
    spec, labels = client.spec, client.metadata.labels
    values = {
        "Provider": spec.provider,
        "Region": spec.region,
        "Organization": spec.organization,
        "Accelerator": spec.pool.accelerator,
    }
    said = [values[field] for field in by.fields or ()] + [labels.get(key) for key in by.labels or ()]
    return "/".join(value or _NONE for value in said)[:_LONGEST]


def all_strata(context: JobContext) -> tuple[str, ...]:
    """The names of all strata of the sites that train."""
    by = context.spec.clients.stratified
    return tuple(sorted({stratum(by, site.client) for site in context.trainees})) if by else ()


def strata(context: JobContext) -> tuple[str, ...]:
    """Those that the roster tells apart."""
    return all_strata(context)[:MAX_STRATA]
