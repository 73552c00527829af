"""Which versions of the messages there are, and what a trainer may be able to do beside its protocol.

A version is what a released hub and its trainers speak; docs/versions.md tells what each of them brought. A feature is
what only some trainers of a version can do: a plan that needs one is given to no site that does not say it has it.
"""

PROTOCOL = 2  # what hub and trainer of this version speak
OLDEST_AT_HUB = 1  # the oldest that this hub still speaks, with trainers of the version before: 0.1
OLDEST_AT_SITE = 2  # the oldest in which this trainer can be answered

DETERMINISM_WARN = "determinism-warn"  # training.determinism: Warn
INLINE = "inline"  # small models come in orders, small updates go in the request that hands them in
ENCRYPTION = "encryption"  # updates are encrypted, where the order says to whom
COMPRESSION = "compression"  # updates are encoded, where the order says by which codec: Float16 to TopK (ADR 43)
PROXIMAL = "proximal"  # the parts of wire.training.Method
FULL_GRADIENT = "full-gradient"
CONTROL_VARIATES = "control-variates"
KEEP_OPTIMIZER = "keep-optimizer"
FRAGMENTS = "fragments"
EXCHANGE = "exchange"  # only what trains travels: orders name the initial model, which has the rest
SUB_MODELS = "sub-models"  # a site trains a leading slice of the model, where the order says its width
DOWNLOAD = "download"  # models come encoded, where the order says so (ADR 47)
DELTA = "delta"  # a model may be made of the one before and an encoded delta, where the order brings one (ADR 55)
SECAGG = "secagg"  # updates are masked, and summed so that nobody sees one of them, where the order says so (ADR 65)
SECAGG_GROUPS = "secagg-groups"  # sums of groups of sites, each by itself (ADR 75)
ENCRYPTED_SUMS = (
    "encrypted-sums"  # updates are encrypted with a key of the sites and added so; of sites that have TenSEAL (ADR 74)
)
SITE_NOISE = "site-noise"  # a site clips its update and adds noise to it, where the order says how much (ADR 66)
DP_SGD = "dp-sgd"  # said by a trainer that has opacus, and can train by DP-SGD (ADR 67)
SIGNATURES = "signatures"  # said by a site that has a key and signs what it sends (ADR 57)
KEY = "key:"  # before the id of that key: said as a feature, since a hub that does not know one ignores it
FEATURES = (  # of this trainer, whatever its site has
    DETERMINISM_WARN,
    INLINE,
    ENCRYPTION,
    COMPRESSION,
    PROXIMAL,
    FULL_GRADIENT,
    CONTROL_VARIATES,
    KEEP_OPTIMIZER,
    FRAGMENTS,
    EXCHANGE,
    SUB_MODELS,
    DOWNLOAD,
    DELTA,
    SECAGG,
    SECAGG_GROUPS,
    SITE_NOISE,
)
