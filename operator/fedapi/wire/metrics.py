"""What a site may claim of a model and of its data: so much that sums over all sites stay finite and exact."""

from typing import Annotated

from pydantic import Field

MAX_METRICS = 32  # of one report
MAX_METRIC_NAME = 63  # characters
MAX_METRIC = 1e100  # size of a metric's value: sums of sites stay finite
MAX_SAMPLES = 1 << 40  # of one site, whatever the job allows: sums of sites stay exact in JSON
Metrics = Annotated[dict[str, float], Field(max_length=MAX_METRICS)]
