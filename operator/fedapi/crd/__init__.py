"""The custom resources as pydantic models, and the emitter that turns them into CRD YAML.

The operator, the aggregator's status adapter, the embedded runner and the documentation read these models.
No process logic here: defaults that act at run time belong to the field that declares them.
"""
