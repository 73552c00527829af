"""Bucket care: what a bucket should be like for Fedloom, whether it is, and making it so. For `fedloom storage` and the aggregator.

wanted.py has the values, port.py what there is of each cloud, *policy.py the documents (pure), s3.py, gcs.py and azure.py read
and write a bucket's settings by the loop of settings.py, opening.py knows which clouds there are. The hub's processes only read:
they have no right to more.
"""
