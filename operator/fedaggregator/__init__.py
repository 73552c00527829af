"""The aggregator of one FederatedJob: serves its sites, folds their updates, commits rounds, writes the job's status.

engine/ interprets fedcore's effects, http/ answers sites, adapters/ write status, __main__ puts them together.
Meets the operator and the trainer in wire messages, environment names, exit codes and the store layout only.
"""
