"""What a JSON object is in code: one alias for one that may be changed, one for one that is only read.

Everything that holds a Kubernetes object, a message or a file as JSON says so with these two names. A pure function takes
`JsonView` and returns a new `Json`; nothing here knows what is inside.
"""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]  # ours to change
JsonView = Mapping[str, Any]  # somebody's: read only
