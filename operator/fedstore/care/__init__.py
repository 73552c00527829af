"""Bucket care: what a bucket should be like for Fedloom, whether it is, and making it so. For `fedloom storage` and the aggregator.

wanted.py has the values, port.py what there is of each cloud, s3policy.py the documents (pure), s3.py reads and writes a
bucket's settings, opening.py knows which clouds there are. The hub's processes only read: they have no right to more.
"""
