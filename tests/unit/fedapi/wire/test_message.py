"""Canonical bytes."""

import hashlib

from fedapi.wire.message import ObjectRef


def test_canonical_bytes_do_not_depend_on_field_order():
    one = ObjectRef(key="k", sha256="0" * 64, size=1)
    two = ObjectRef.model_validate_json('{"size": 1, "sha256": "' + "0" * 64 + '", "key": "k"}')
    assert one.canonical() == two.canonical()
    assert one.digest() == hashlib.sha256(one.canonical()).hexdigest()
