"""CODECS: every codec that a job can name (fedapi.wire.compression). Pure."""

from collections.abc import Mapping

from fedcore.compression import bfloat16, float16, int4, int8, topk
from fedcore.compression.codec import Codec

CODECS: Mapping[str, Codec] = {module.CODEC.name: module.CODEC for module in (float16, bfloat16, int8, int4, topk)}
