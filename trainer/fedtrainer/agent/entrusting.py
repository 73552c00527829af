"""Entrusts the site's state to the hub, encrypted by the site, and gets it back where the site has lost it. Called by work.py.

A state is entrusted before its update is handed in, so that the hub has the state of whichever update it commits. The site takes
back the state of its last committed update and no other: one that is older, was changed, or is of another key is refused, and the
error about the lost state says why (site_state.py). Entrusting is tried for ENTRUST_S and then left, so that it does not keep the
site from its work; recalling may take as long as any other question.
"""

import json
import logging
from contextlib import suppress
from pathlib import Path

from fedapi import names
from fedapi.jsonvalue import Json
from fedapi.wire.ciphertext import CiphertextError
from fedapi.wire.entrusted import EntrustRequest, Recalled, RecallRequest
from fedtrainer.agent.bulk import Bulk
from fedtrainer.agent.control import Control
from fedtrainer.agent.patience import Patience, RetryError, persist
from fedtrainer.agent.state_cipher import Place, StateCipher
from fedtrainer.errors import LinkExpiredError, RejectedError, SkipError, TrainerError
from fedtrainer.settings import TrainerSettings
from fedtrainer.training.state_files import Committed, StateFile, StateFiles, Update

log = logging.getLogger(__name__)

ENTRUST_S = 60.0  # that a training waits for a hub that does not take the state
_SPOILT = ("WrongDigest", "WrongSize")  # on its way: what was encrypted is right
_PASSING = "entrusted.safetensors.enc"  # in the site's folder: on its way to the hub, or back
_MARK = "entrusted.json"  # beside the state: which update's was entrusted last, and by which key


class Entrusting:
    """One site's, where its FLClient has `spec.entrustedState`."""

    def __init__(
        self, settings: TrainerSettings, key_folder: Path, control: Control, bulk: Bulk, files: StateFiles
    ) -> None:
        self._settings, self._control, self._bulk, self._files = settings, control, bulk, files
        self._cipher = StateCipher.of(key_folder)
        self._passing = files.folder.parent / _PASSING
        self._tried: Committed | None = None  # to entrust
        self._asked: set[Committed] = set()  # for what was lost
        self._why = ""
        self._warn_of_another_key()

    def _warn_of_another_key(self) -> None:
        """At the start: a key that was changed by mistake would else be found when the state is lost."""
        by = self._last().get("key", self._cipher.fingerprint)
        if by != self._cipher.fingerprint:
            log.warning(
                "%s is another than the one by which the site entrusted its state last: what was entrusted before cannot be "
                "read by it, and the next state is entrusted by it; unless that is meant, put back the one before",
                names.FILE_STATE_KEY,
            )

    def settle(self, committed: Committed | None) -> str:
        """After the hub has said what it committed last. Why that update's state, where it is lost, cannot be had; else empty."""
        if committed is None or committed.sha256 is None or self._files.reset:
            return ""
        current = self._files.current(committed)
        if current is None:
            self._recall(committed, committed.sha256)
            current = self._files.current(committed)
        if current is None:
            return self._why
        if committed != self._tried:  # what could not be entrusted in time, or was there before the site entrusted any
            self._tried = committed
            self._entrust(current)
        return ""

    def staged(self, update: Update, update_sha256: str) -> None:
        """Before an update is handed in."""
        file = self._files.staged(update, update_sha256)
        if file is not None:
            self._entrust(file)

    def _is_due(self, file: StateFile) -> bool:
        """After so many rounds; also another attempt, when the hub went back, with another key, and when nobody knows."""
        said, last = self._last(), -1
        with suppress(ValueError, KeyError, TypeError):
            if said["update"] == file.update_sha256:
                return False  # by another key, too: the hub keeps one state of an update
            if said.get("key", self._cipher.fingerprint) != self._cipher.fingerprint:
                return True
            last = int(said["round"])
        return last < 0 or not last < file.update[0] < last + self._settings.entrust_every_rounds

    def _last(self) -> Json:
        """What was entrusted last; empty where nobody knows."""
        with suppress(OSError, ValueError):
            said = json.loads((self._files.folder / _MARK).read_bytes())
            return said if isinstance(said, dict) else {}
        return {}

    def _entrust(self, file: StateFile) -> None:
        if not self._is_due(file):
            return
        round_, patience = file.update[0], Patience(min(ENTRUST_S, self._settings.patience_s))
        try:
            sha256, size = self._cipher.encrypt(file.path, self._place(file), self._passing)
            request = EntrustRequest(
                round=round_,
                attempt=file.update[1],
                update_sha256=file.update_sha256,
                sha256=sha256,
                size=size,
                keep_last=self._settings.entrust_keep_last,
            )
            persist("entrusting the site's state", lambda: self._put(request), patience)
        except (TrainerError, OSError) as error:
            log.warning("the site's state of round %d is not entrusted to the hub: %s", round_, error)
        else:
            self._mark(file)
            log.info("the site's state of round %d is entrusted to the hub: %d bytes, encrypted", round_, size)
        finally:
            self._passing.unlink(missing_ok=True)

    def _put(self, request: EntrustRequest) -> None:
        """Until the hub says that it has the state: it looks at what was put."""
        for _ in range(2):
            grant = self._control.entrust(request).grant
            if grant is None:
                return
            try:
                self._bulk.upload(self._passing, grant)
            except LinkExpiredError as error:
                raise RetryError(str(error)) from error
            except RejectedError as error:
                if error.code not in _SPOILT:
                    raise
                raise RetryError(str(error)) from error
        if self._control.entrust(request).grant is not None:
            raise RetryError("what was put is not what the hub found")

    def _mark(self, file: StateFile) -> None:
        """Lost or damaged, it costs one more upload."""
        with suppress(OSError):
            said = {"round": file.update[0], "update": file.update_sha256, "key": self._cipher.fingerprint}
            (self._files.folder / _MARK).write_text(json.dumps(said))

    def _recall(self, committed: Committed, update_sha256: str) -> None:
        """A site that never had a state asks once, at its start; one that had asks whenever it lacks another."""
        if committed in self._asked or (self._asked and self._files.newest() is None):
            return
        self._asked.add(committed)
        (round_, attempt) = committed.update
        request = RecallRequest(round=round_, attempt=attempt, update_sha256=update_sha256)
        self._why = ""
        try:
            self._bring(request)
        except (SkipError, CiphertextError, OSError) as error:
            self._why = f"what the site had entrusted to the hub does not help: {error}"
            if self._files.newest() is not None or not isinstance(error, LinkExpiredError):
                log.warning("round %d: %s", round_, self._why)
        else:
            log.warning(
                "the site's state of round %d was lost here: goes on with what it had entrusted to the hub", round_
            )
        finally:
            self._passing.unlink(missing_ok=True)

    def _bring(self, request: RecallRequest) -> None:
        def once() -> Recalled:
            recalled = self._control.recall(request)
            try:
                self._bulk.download(recalled.state, self._passing, "the entrusted state")
            except LinkExpiredError as error:
                raise RetryError(str(error)) from error
            return recalled

        recalled = persist("recalling the site's state", once, Patience(self._settings.patience_s))
        told = RecallRequest.model_validate(recalled.model_dump(exclude={"state"}))
        if told != request:
            text = f"it is that of round {told.round} attempt {told.attempt}, not of round {request.round} attempt {request.attempt}"
            raise CiphertextError(text)
        update, written = (request.round, request.attempt), self._files.folder / "writing"
        place = Place(client=self._settings.client, **request.model_dump())
        self._files.folder.mkdir(parents=True, exist_ok=True)
        try:
            sha256 = self._cipher.decrypt(self._passing, place, written)
            self._files.put_back(written, update, request.update_sha256, sha256)
        finally:
            written.unlink(missing_ok=True)

    def _place(self, file: StateFile) -> Place:
        round_, attempt = file.update
        return Place(client=self._settings.client, round=round_, attempt=attempt, update_sha256=file.update_sha256)
