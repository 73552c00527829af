"""What the aggregator's configuration and a site's orders say."""

from fedapi.wire.training import TrainingSettings

# What version 0.1 put into an order's `training`. Its trainers, which user images pin, refuse orders that say more.
KNOWN_TO_0_1 = {
    "epochs", "local_steps", "batch_size", "batch_per", "gradient_accumulation_steps", "mixed_precision",
    "learning_rate_scaling", "warmup_steps", "checkpoint_every_s", "optimizer",
}  # fmt: skip


def test_orders_say_nothing_new_to_older_trainers_unless_the_job_asks_for_it():
    plain, warn = TrainingSettings(), TrainingSettings(determinism="Warn")
    assert plain.model_dump().keys() == KNOWN_TO_0_1
    assert TrainingSettings.model_validate_json(plain.model_dump_json()) == plain
    assert warn.model_dump().keys() - KNOWN_TO_0_1 == {"determinism"}
    assert TrainingSettings.model_validate_json(warn.model_dump_json()) == warn
