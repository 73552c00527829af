"""The site's own noise: an update within the clip norm, with noise of the size that is charged for, the same however it is read."""

import math

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from fedapi.wire.compression import Compression
from fedapi.wire.privacy import SiteNoise
from fedcore.privacy import noise
from fedtrainer.errors import DivergedError
from fedtrainer.training import site_noise, tensors
from fedtrainer.training.encoding import Encoder
from fedtrainer.training.releases import Protection

SIZE = 300_001
PARAMETERS = frozenset({"big", "half", "wide"})


def state(seed: int, size: float = 1.0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "big": size * torch.randn(SIZE, generator=generator),
        "half": (size * torch.randn(33, generator=generator)).to(torch.float16),
        "wide": size * torch.randn(3, 3, generator=generator, dtype=torch.float64),
        "running_mean": torch.randn(5, generator=generator),
        "count": torch.tensor([seed]),
    }


def sent(tmp_path, local, base, key=bytes(32), keys=None, **values):
    """The update as it is written, by name."""
    asked = SiteNoise(**{"clip_norm": 2.0, "clipping": "Flat", "noise_multiplier": 0.5, "delta": 1e-5} | values)
    seen = [] if keys is None else keys
    protection = Protection(asked, lambda digest: seen.append(digest) or key)
    path = tmp_path / "update.safetensors"
    tensors.write_delta(path, local, base, protect=site_noise.protect(protection, PARAMETERS))
    return load_file(path)


def test_the_noise_has_the_size_and_the_form_that_is_charged_for(tmp_path):
    base = state(1)
    update = sent(tmp_path, base, base, noise_multiplier=3.0, clip_norm=0.5)["big"].astype(np.float64) / 1.5
    assert update.std() == pytest.approx(1.0, rel=4 / math.sqrt(2 * SIZE))
    assert abs(update.mean()) < 4 / math.sqrt(SIZE)
    for quantile in (-2.0, -1.0, 0.0, 1.0, 2.0):  # Kolmogorov's distance is below 1.95 / sqrt(n) in 999 of 1000
        share = 0.5 * math.erfc(-quantile / math.sqrt(2))
        assert np.mean(update <= quantile) == pytest.approx(share, abs=1.95 / math.sqrt(SIZE))


@pytest.mark.parametrize("clip_norm", [0.1, 2.0, 1e5])
def test_it_is_the_clipped_update_and_the_noise_of_its_key(tmp_path, clip_norm):
    base, local = state(1), state(2)
    update = sent(tmp_path, local, base, clip_norm=clip_norm, noise_multiplier=0.01)
    deltas = {name: (local[name] - base[name]).to(torch.float64).numpy() for name in PARAMETERS}
    norm = math.sqrt(sum(float(np.sum(np.square(delta))) for delta in deltas.values()))
    for number, name in enumerate(_order(base)):
        drawn = 0.01 * clip_norm * noise.normals(bytes(32), number, 0, deltas[name].size)
        exact = deltas[name].reshape(-1) * min(1.0, clip_norm / norm) + drawn
        tolerance = {"half": 1e-3, "big": 1e-6, "wide": 2e-6}[name] * max(np.abs(exact).max(), 1e-6)
        assert np.allclose(update[name].reshape(-1), exact, rtol=0, atol=tolerance), name


def _order(base):
    return [tensor.name for tensor in tensors.table(base).tensors if tensor.name in PARAMETERS]


@pytest.mark.parametrize("clipping", ["Flat", "PerLayer"])
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_no_update_is_longer_than_the_clip_norm(tmp_path, clipping, size):
    """Without its noise, which is known here: what is left is what the noise hides."""
    base = {name: value for name, value in state(1, 0.0).items() if name != "half"}
    local = {name: value for name, value in state(2, size).items() if name != "half"}
    update = sent(tmp_path, local, base, clipping=clipping, noise_multiplier=1e-3)
    names = _order(base)
    left = [
        update[name].reshape(-1).astype(np.float64) - 2e-3 * noise.normals(bytes(32), number, 0, update[name].size)
        for number, name in enumerate(names)
    ]
    norms = [float(np.linalg.norm(part)) for part in left]
    assert math.hypot(*norms) <= 2.0 * (1 + 1e-6)
    if clipping == "PerLayer":
        assert max(norms) <= 2.0 / math.sqrt(len(names)) * (1 + 1e-6)
    else:
        assert math.hypot(*norms) == pytest.approx(min(2.0, _norm(local, names)), rel=1e-2)


def _norm(values, names) -> float:
    return math.hypot(*(float(torch.linalg.vector_norm(values[name].double())) for name in names))


def test_of_what_is_no_parameter_nothing_is_told(tmp_path):
    update = sent(tmp_path, state(2), state(1))
    assert not update["running_mean"].any()
    assert not update["count"].any()


def test_the_digest_is_of_the_exact_update(tmp_path):
    """By it the noise is drawn: one bit more, and it is another."""
    keys: list[bytes] = []
    base, local = state(1), state(2)
    first = sent(tmp_path, local, base, keys=keys)
    again = sent(tmp_path, local, base, keys=keys)
    local["big"][7] = torch.nextafter(local["big"][7], torch.tensor(math.inf)) + 1
    sent(tmp_path, local, base, keys=keys)
    assert keys[0] == keys[1] != keys[2]
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_a_codec_encodes_what_has_its_noise_already(tmp_path):
    """It reads a tensor more than once, in blocks of its own: each time it is the same."""
    base, local = state(1), state(2)
    protection = Protection(
        SiteNoise(clip_norm=2.0, clipping="Flat", noise_multiplier=0.5, delta=1e-5), lambda _: bytes(32)
    )
    encoder = Encoder(Compression(codec="BFloat16"), 1, PARAMETERS, {})
    path = tmp_path / "encoded.safetensors"
    protect = site_noise.protect(protection, PARAMETERS)
    tensors.write_delta(path, local, base, encoder=encoder, protect=protect)
    plain, coded = sent(tmp_path, local, base), tensors.read(path)
    found = next(value for value in coded.values() if value.numel() == SIZE)
    assert torch.equal(found.view(torch.bfloat16), torch.from_numpy(plain["big"]).to(torch.bfloat16))


def test_an_update_that_is_not_finite_or_cannot_hold_its_noise_is_none(tmp_path):
    base, local = state(1), state(2)
    with pytest.raises(DivergedError, match=r"over what torch\.float16 holds: lower"):
        sent(tmp_path, local, base, clip_norm=1e6)
    local["big"][3] = math.nan
    with pytest.raises(DivergedError, match="'big' is not finite"):
        sent(tmp_path, local, base)
