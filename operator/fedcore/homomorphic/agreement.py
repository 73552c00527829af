"""What all parties of an encrypted sum work out alike. Pure, and without the library."""

import hashlib

from fedcore.secagg.agreement import View
from fedcore.secagg.keys import bound


def maker(seen: View) -> str:
    """The participant that makes the key: by lot, so that no site makes all, of those that made none of the keys before in this round.

    So a site that is silent then, or seals a key that others cannot use, costs a round one attempt. A hub that names others gains nothing:
    each site has the key in the end.
    """
    place = seen.bond.context + seen.bond.participants
    names = seen.said.keys() - set(seen.terms.earlier_makers) or seen.said.keys()
    return min(names, key=lambda name: hashlib.sha256(bound("key maker", place, name.encode())).digest())
