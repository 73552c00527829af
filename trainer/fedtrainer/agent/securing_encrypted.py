"""A site's exchange where updates are encrypted with a key of the sites (fedcore.homomorphic.site), with its files. Made by securing.py.

It loads TenSEAL. All files are worked through ciphertext by ciphertext, 64 KiB of them for 2048 values; in memory are the values alone.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fedapi.wire.download import Download
from fedapi.wire.encryptedsum import OpenedSum
from fedapi.wire.secagg import Advertisement, Consent, Participants, SurvivorSet, Terms
from fedapi.wire.secureround import SecureAnswer
from fedcore.homomorphic import site
from fedcore.homomorphic.addition import Coefficients, size
from fedcore.homomorphic.errors import NotASumError
from fedcore.homomorphic.parameters import COEFFICIENTS
from fedcore.homomorphic.site import EncryptingState
from fedcore.secagg.errors import RefusedError, SpentKeysError
from fedcore.secagg.site import SiteState, noise_key
from fedtrainer.agent.securing_exchange import Opened, Said, Sign, SumFile, brought
from fedtrainer.agent.securing_state import SecureFiles, check_terms
from fedtrainer.agent.securing_vector import Contribution
from fedtrainer.errors import RejectedError
from fedtrainer.training import durable

SUM_SPOILT = "SumSpoilt"  # code of a sum of what sites agreed on that is none of updates

Fetch = Callable[[Download, Path, str], None]  # what, where to, and its name in what is logged


class EncryptedExchange:
    """One attempt's. `fetch`: leaves a file with the digest that was said, or raises."""

    def __init__(self, files: SecureFiles, contribution: Contribution, fetch: Fetch) -> None:
        self._files, self._contribution, self._fetch = files, contribution, fetch
        self._state: EncryptingState

    def resumed(self) -> bool:
        """Whether an earlier process has begun it for the same terms."""
        if (kept := self._files.kept(EncryptingState)) is None:
            return False
        check_terms(kept.exchange.terms, self._terms)
        self._state = kept
        return True

    def begin(self, state: SiteState) -> None:
        """With a new seed."""
        self._keep(site.start(state))

    def advertise(self, sign: Sign) -> Advertisement:
        """Public keys, of the seed."""
        return site.advertise(self._state, sign)

    def share(self, answer: SecureAnswer) -> Said:
        """The scheme's key, sealed to all others. The maker alone is asked."""
        participants = brought(answer.participants, "participants")
        self._contribution.check(participants)
        state, key = site.share(self._state, participants)
        self._keep(state)
        return {"key": key}

    def vector(self, answer: SecureAnswer) -> SumFile:
        """The encrypted update, which is other bytes when it is encrypted again: durable, and from then on the only one."""
        participants = brought(answer.participants, "participants")
        self._contribution.check(participants)
        state = site.delivered(self._state, participants, brought(answer.key, "key"))
        if state.exchange.masked_sha256 is None:
            state, tag = self._made(state, participants)
        else:
            state, tag = site.handed_in(state, self._kept_rows())
        self._keep(state)
        sha256 = brought(state.exchange.masked_sha256, "encrypted update")
        return SumFile(self._files.encrypted, sha256, size(self._terms.items), tag)

    def _made(self, state: EncryptingState, participants: Participants) -> tuple[EncryptingState, bytes]:
        numbers = self._contribution.encoded(participants, noise_key(state.exchange)).view(np.int32)
        with durable.writing(self._files.encrypted) as file:
            return site.handed_in(state, _written(file, site.encrypted(state, numbers)))

    def void(self) -> None:
        """It is read again, and its digest compared, before it is sent again; another one is never made."""

    def consent(self, survivors: SurvivorSet, sign: Sign) -> Consent:
        """To the survivors."""
        state, said = site.consent(self._state, survivors, sign)
        self._keep(state)
        return said

    def open_(self, answer: SecureAnswer) -> Opened:
        """The numbers of the sum. RejectedError where a site has spoilt it."""
        request, encrypted = brought(answer.sum, "consents and tag"), brought(answer.encrypted, "encrypted sum")
        if encrypted.size != size(self._terms.items):
            text = f"an encrypted sum of {self._terms.items} values has {size(self._terms.items)} bytes"
            raise RefusedError(f"{text}, the hub's has {encrypted.size}")
        if self._state.exchange.survivors is not None:  # the own update is durable at the hub: nobody asks for it again
            self._files.encrypted.unlink(missing_ok=True)
        self._fetch(encrypted, self._files.sum, "the encrypted sum")
        try:
            numbers = site.read(self._state, request, _rows(self._files.sum)).astype("<i4", copy=False)
        except NotASumError as error:
            text = f"{error}; a site whose update is in the sum has spoilt it, and nobody can tell which"
            raise RejectedError(SUM_SPOILT, f"{text}: leave sites out of the job, one at a time, to find it") from error
        self._files.write(self._files.numbers, numbers.data)
        sha256 = hashlib.sha256(numbers.data).hexdigest()
        said = {"numbers": OpenedSum(site=self._state.exchange.site, sha256=sha256)}
        return Opened(said, SumFile(self._files.numbers, sha256, numbers.nbytes))

    def over(self) -> None:
        """The state stays until another order comes; the sum is fetched again, should a hub that was killed ask for it."""
        for path in (self._files.encrypted, self._files.sum, self._files.numbers):
            path.unlink(missing_ok=True)

    @property
    def _terms(self) -> Terms:
        return self._contribution.values.order.terms

    def _kept_rows(self) -> Sequence[Coefficients]:
        """Of the file that is named in the state. SpentKeysError where it is not there whole."""
        path = self._files.encrypted
        if not path.exists() or path.stat().st_size != size(self._terms.items):
            raise SpentKeysError(f"{path}, which the site has handed in, is lost: it takes part in the next attempt")
        return _rows(path)

    def _keep(self, state: EncryptingState) -> None:
        self._files.keep(state)
        self._state = state


def _written(file: BinaryIO, rows: Iterable[Coefficients]) -> Iterator[Coefficients]:
    """The same, each in the file before it is used."""
    for row in rows:
        file.write(row.data)
        yield row


def _rows(path: Path) -> Sequence[Coefficients]:
    """Ciphertexts of a file of whole ones, as they are on the disk."""
    return list(np.asarray(np.memmap(path, "<u8", "r")).reshape(-1, COEFFICIENTS))
