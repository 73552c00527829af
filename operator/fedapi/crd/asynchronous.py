"""Rules of a FederatedJob's spec for asynchronous rounds: what strategy FedBuff goes with. Used by federatedjob.py."""

from fedapi.crd.fields import rule

ASYNCHRONOUS = (
    rule(
        "!has(self.round.maxStaleness) || self.strategy.name == 'FedBuff'",
        "round.maxStaleness is for asynchronous rounds, where updates may be of older models: set strategy.name to FedBuff, or "
        "remove it",
        ".round.maxStaleness",
    ),
    rule(
        "self.strategy.name != 'FedBuff' || self.clients.policy == 'All'",
        "strategy FedBuff gives every site that asks an order, so no policy can choose: set clients.policy to All, or another "
        "strategy.name",
        ".clients.policy",
    ),
    rule(
        "self.strategy.name != 'FedBuff' || self.training.lifetime == 'Job'",
        "strategy FedBuff lets sites train on while rounds end, and training.lifetime Round ends their processes with each: set "
        "it to Job, or another strategy.name",
        ".training.lifetime",
    ),
)
