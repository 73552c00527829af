"""What a site has sent with noise of its own, and the secret that the noise is made by: files of its state volume. No torch here.

    <state>/<job uid>/<client>/state/
        noise.key       32 random bytes that never leave the site
        releases.json   each noised update, and each sum with noise that a masked one is for, before anything of it leaves: what all of
                        them together tell is counted by this

The noise of an update is a function of the secret, of what it was trained for and of its bytes. So an update that is made again, by a
process that was killed or for another attempt of its round, has the same noise and is the same release; two draws would be two, and
their mean would have half the variance. One that differs in a bit has noise of its own, and is counted. Made by agent/protecting.py,
drawn from by site_noise.py.
"""

import hashlib
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from fedapi.wire.message import Message, Sha256
from fedapi.wire.privacy import SiteNoise
from fedapi.wire.tokens import hkdf
from fedcore.privacy import account, gaussian
from fedcore.privacy.distributed import concentrated
from fedtrainer.errors import SiteStateError
from fedtrainer.training import durable
from fedtrainer.training.state_files import Committed, Update

KEY_FILE, RELEASES_FILE = "noise.key", "releases.json"
KEY_BYTES = 32


class Context(Message):
    """What an update is for. The attempt is not in it: another one of the same round begins from the same model."""

    job_uid: str
    client: str
    round: int
    base_sha256: Sha256


class Release(Message):
    """A noised update."""

    round: int
    base_sha256: Sha256
    noise_multiplier: float
    key_sha256: Sha256


class MaskedRelease(Message):
    """A masked update, which the hub may have opened in a sum with noise from then on; each attempt has noise of its own."""

    round: int
    attempt: int
    base_sha256: Sha256
    rho: float = Field(gt=0, allow_inf_nan=False, description="What that sum tells of the site, as zCDP.")


class _Record(Message):
    releases: tuple[Release, ...] = ()
    masked: tuple[MaskedRelease, ...] = Field((), exclude_if=lambda value: not value)


@dataclass(frozen=True)
class Protection:
    """What is done to one update. `key`: of its noise, by the SHA-256 of its bytes; the release is recorded by then."""

    noise: SiteNoise
    key: Callable[[bytes], bytes]


class Releases:
    """Of one job at one site. The folder is locked by the process that works there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        found = _read(folder / RELEASES_FILE)
        self._known, self._masked = found.releases, found.masked

    def __len__(self) -> int:
        return len(self._known) + len(self._masked)

    def epsilon(self, delta: float, more: SiteNoise | MaskedRelease | None = None) -> float:
        """What all of them tell of the site's data together, and one more."""
        noises = [each.noise_multiplier for each in self._known]
        rhos = [each.rho for each in self._masked]
        if isinstance(more, MaskedRelease):
            rhos.append(more.rho)
        elif more is not None:
            noises.append(more.noise_multiplier)
        squares = sum(account.mu_of("Local", noise) ** 2 for noise in noises)
        if rhos:  # mu-GDP is (mu^2 / 2)-zCDP
            return concentrated.epsilon_of(math.fsum(rhos) + squares / 2, delta)
        return gaussian.epsilon_of(math.sqrt(squares), delta)

    def has_masked(self, release: MaskedRelease) -> bool:
        """Whether it is counted: a site that was killed hands in the same again."""
        return release in self._masked

    def mask(self, release: MaskedRelease) -> None:
        """Counts a masked update, durably."""
        if not self.has_masked(release):
            self._write(_Record(releases=self._known, masked=(*self._masked, release)))

    def check(self, committed: Committed | None, accepted: Update | None = None) -> None:
        """SiteStateError when it lacks an update of the round in which the hub has committed one, or accepted: then it is not whole.

        A masked update is known by its attempt, too: each is for a sum with noise of its own.
        """
        rounds = {each.round for each in self._known}
        masked = {(each.round, each.attempt) for each in self._masked}
        if committed is not None and committed.update[0] not in rounds.union(round_ for round_, _ in masked):
            raise self._lacking(f"round {committed.update[0]}, which the hub has committed")
        if accepted is not None and accepted[0] not in rounds and accepted not in masked:
            raise self._lacking(f"round {accepted[0]}, attempt {accepted[1]}, which the hub has accepted")

    def _lacking(self, what: str) -> SiteStateError:
        return SiteStateError(
            f"spec.requires.privacy.maxEpsilon: {self._folder / RELEASES_FILE} lacks the site's update of {what}, so nobody knows what "
            "the site has told so far: put back the volume that held it (spec.state of the FLClient); in a job that was restored from a "
            "backup copy the file from the folder of the job before; or take the site out of the job"
        )

    def has(self, context: Context, noise: SiteNoise) -> bool:
        """Whether an update was sent for the same: one that is trained again may be that one."""
        said = context.round, context.base_sha256, noise.noise_multiplier
        return any((each.round, each.base_sha256, each.noise_multiplier) == said for each in self._known)

    def key(self, context: Context, noise: SiteNoise, update_sha256: bytes, allow: Callable[[], None]) -> bytes:
        """The key of an update's noise. `allow` is asked, and may raise, before one that was not yet sent is recorded, durably."""
        said = context.canonical() + noise.canonical() + update_sha256
        key = hkdf(self._secret(), b"fedloom site noise\0" + hashlib.sha256(said).digest())
        release = Release(
            round=context.round,
            base_sha256=context.base_sha256,
            noise_multiplier=noise.noise_multiplier,
            key_sha256=hashlib.sha256(key).hexdigest(),
        )
        if release not in self._known:
            allow()
            self._write(_Record(releases=(*self._known, release), masked=self._masked))
        return key

    def _write(self, record: _Record) -> None:
        durable.write(self._folder / RELEASES_FILE, record.canonical())
        self._known, self._masked = record.releases, record.masked

    def _secret(self) -> bytes:
        path = self._folder / KEY_FILE
        try:
            secret = path.read_bytes()
        except FileNotFoundError:
            secret = secrets.token_bytes(KEY_BYTES)
            durable.write(path, secret)
        except OSError as error:
            raise SiteStateError(f"{path} is not readable ({error.strerror}): give it back to the trainer") from error
        if len(secret) != KEY_BYTES:
            raise SiteStateError(f"{path} has {len(secret)} bytes, not {KEY_BYTES}: put back the volume, or delete it")
        return secret


def _read(path: Path) -> _Record:
    try:
        return _Record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return _Record()
    except (OSError, ValidationError) as error:
        text = f"{path} is damaged ({type(error).__name__}), so nobody knows what the site has told so far"
        raise SiteStateError(
            f"{text}: put back the volume that held it, or delete it to begin a new account"
        ) from error
