"""A bucket in memory that can lose answers: the rules of fedstore.bucketstore without a cloud."""

import itertools
import threading

from fedstore.bucket import ConflictError, Stat
from fedstore.errors import MissingError, StoreFailedError
from fedstore.presigning import Presigned


class MemoryBucket:
    part_bytes, most_parts, threads = 1000, 100_000, 3
    largest_put_bytes = 5000

    def __init__(self):
        self.objects = {}  # name -> (data, tag, metadata)
        self.calls = []
        self.lose_answers = 0
        self.uploads = set()
        self._tags = itertools.count(1)
        self._lock = threading.RLock()

    def put(self, name, data, expected, metadata):
        with self._lock:
            self.calls.append(("put", name))
            if (self.objects[name][1] if name in self.objects else None) != expected:
                raise ConflictError(name)
            tag = str(next(self._tags))
            self.objects[name] = (bytes(data), tag, dict(metadata))
            if self.lose_answers:  # what an SDK does then: it tries again, and meets its own object
                self.lose_answers -= 1
                return self.put(name, data, expected, metadata)
            return tag

    def upload(self, name, expected, metadata):
        self.calls.append(("upload", name))
        return MemoryUpload(self, name, expected, metadata)

    def stat(self, name):
        found = self.objects.get(name)
        return None if found is None else Stat(len(found[0]), found[1], found[2])

    def get(self, name):
        try:
            return self.objects[name][:2]
        except KeyError:
            raise MissingError(name) from None

    def read_into(self, name, tag, buffer, offset):
        data, now, _ = self.objects[name]
        if now != tag:
            raise StoreFailedError(f"{name} has changed")
        self.calls.append(("read", buffer.nbytes))
        buffer[:] = data[offset : offset + buffer.nbytes]

    def names(self, prefix):
        return iter(sorted(name for name in self.objects if name.startswith(prefix)))

    def delete(self, name):
        self.objects.pop(name, None)

    def abandon(self, prefix):
        self.uploads = {upload for upload in self.uploads if not upload.name.startswith(prefix)}

    def presigned_get(self, name, now, lifetime_s):
        return self._presigned("GET", name, now + lifetime_s)

    def presigned_put(self, name, ref, now, lifetime_s):
        return self._presigned("PUT", name, now + lifetime_s)

    def ca(self):
        return ""

    def region(self):
        return ""

    def _presigned(self, method, name, until):
        return Presigned(method, f"memory://{name}", until)


class MemoryUpload:
    def __init__(self, bucket, name, expected, metadata):
        self.bucket, self.rest, self.parts = bucket, (expected, metadata), {}
        self.name = name
        bucket.uploads.add(self)

    def part(self, number, data):
        if self not in self.bucket.uploads:  # as servers say of an upload that somebody else has ended
            raise ConflictError(self.name)
        self.parts[number] = bytes(data)

    def complete(self):
        whole = b"".join(self.parts[number] for number in range(1, len(self.parts) + 1))
        self.bucket.put(self.name, whole, *self.rest)
        self.bucket.uploads.discard(self)

    def abort(self):
        self.bucket.uploads.discard(self)
