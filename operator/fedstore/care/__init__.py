"""Bucket care: what a bucket should be like for Fedloom, whether it is, and making it so. For `fedloom storage init` and `check`.

wanted.py has the values, s3policy.py the documents (pure), s3.py reads and writes a bucket's settings. The hub's processes never
do: they have no right to.
"""
