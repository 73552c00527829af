"""`spec.compression` of a FederatedJob: how sites encode their updates, and how the model that they fetch is encoded.

The codecs are in fedcore.compression.
"""

from pydantic import ConfigDict, Field

from fedapi.crd.fields import Decimal, Part, rule, rules
from fedapi.wire.compression import MOST_FRACTION, Encoding, Lossy
from fedapi.wire.compression import Codec as CodecName
from fedapi.wire.compression import Compression as Told


class TopK(Part):
    """Numbers of TopK."""

    fraction: Decimal = Field(
        "0.01",
        description="How much of each tensor is sent: its values of largest size. Over 0 and at most 0.5; a decimal string.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"double(self.fraction) > 0.0 && double(self.fraction) <= {MOST_FRACTION}",
                f"fraction must be over 0 and at most {MOST_FRACTION}, above which an update is no smaller, for example '0.01'",
                ".fraction",
            )
        )
    )


_TOP_K_FITS = rule(
    "(self.codec == 'TopK') == has(self.topK)",
    "codec TopK needs topK, and no other takes it: write topK: {} for the defaults, or remove it",
    ".topK",
)


class Download(Part):
    """How the model that sites fetch is encoded."""

    codec: Lossy = Field(
        description="What the tensors of the model become, or their changes. Float16, BFloat16: floats of two bytes. Int8, Int4: "
        "integers with a scale per block, 3.9 and 7 times smaller. TopK: the largest values alone. Sites train from what that "
        "decodes to; the committed model keeps all its digits. Int4 and TopK need `delta`.",
    )
    top_k: TopK | None = Field(None, description="Numbers of TopK; {} takes the defaults.")
    delta: bool = Field(
        False,
        description="What has changed since the model that sites have is encoded and added to that, so that the error becomes "
        "smaller with the changes. A site that lacks that model fetches the next as it is.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            _TOP_K_FITS,
            rule(
                "!(self.codec in ['Int4', 'TopK']) || self.delta",
                "codecs Int4 and TopK are of changes, since a whole model would lose too much: write delta: true, or take Int8",
                ".codec",
            ),
        )
    )


class Compression(Part):
    """How sites encode their updates, and how the model that they fetch is encoded."""

    codec: CodecName = Field(
        "None",
        description="What the parameters in an update become. None: as they are. Float16, BFloat16: floats of two bytes. Int8, "
        "Int4: integers with a scale per block, rounded at random so that the mean is right; 3.9 and 7 times smaller. "
        "TopK: the largest values alone.",
    )
    top_k: TopK | None = Field(None, description="Numbers of TopK; {} takes the defaults.")
    error_feedback: bool | None = Field(
        None,
        description="Whether what was not sent stays at the site and is added to its next update, in as much memory and state "
        "as the parameters take as float32. Default: with TopK alone. The FLClient needs spec.state to keep it over restarts.",
    )

    download: Download | None = Field(
        None,
        description="How the model that sites fetch is encoded. Default: they fetch it as it is.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            _TOP_K_FITS,
            rule(
                "!(has(self.errorFeedback) && self.errorFeedback) || self.codec != 'None'",
                "errorFeedback goes with a codec, since without one all is sent: set compression.codec, or remove it",
                ".errorFeedback",
            ),
        )
    )

    def told(self) -> Told | None:
        """As plans and orders say it; None where nothing is encoded."""
        if self.codec == "None":
            return None
        feedback = self.codec == "TopK" if self.error_feedback is None else self.error_feedback
        fraction = float(self.top_k.fraction) if self.top_k else None
        return Told(codec=self.codec, fraction=fraction, error_feedback=feedback)

    def told_download(self) -> Encoding | None:
        """The same of the model that sites fetch; None: as it is."""
        if self.download is None:
            return None
        fraction = float(self.download.top_k.fraction) if self.download.top_k else None
        return Encoding(codec=self.download.codec, fraction=fraction)
