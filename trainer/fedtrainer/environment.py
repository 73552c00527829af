"""How settings are read from the environment, once, into frozen objects. Used by settings.py and heartbeat_settings.py."""

import os
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from fedtrainer.errors import BadSettingsError


class FromEnvironment(BaseModel):
    """Read by hand: a process that serves many sites reads them for each order, for which pydantic-settings is slow."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    @classmethod
    def read(cls) -> Self:
        """From the environment; BadSettingsError names every variable that is wrong."""
        variables = (str(field.validation_alias) for field in cls.model_fields.values())
        try:
            return cls.model_validate({name: os.environ[name] for name in variables if name in os.environ})
        except ValidationError as error:
            wrong = "; ".join(
                ": ".join([*map(str, e["loc"][:1]), e["msg"].removeprefix("Value error, ")]) for e in error.errors()
            )
            raise BadSettingsError(f"settings: {wrong}") from None


def read_token(path: Path) -> SecretStr:
    """The bearer token of a file; BadSettingsError where there is none. It is no setting, and is never printed."""
    try:
        token = path.read_text(errors="replace").strip()
    except OSError as error:
        raise BadSettingsError(
            f"token: {path} is not readable ({error.strerror}): mount the Secret that the operator made"
        ) from None
    if not (token and token.isascii() and token.isprintable()):  # it becomes a line of a request's head
        what = "holds no token" if token else "is empty"
        raise BadSettingsError(f"token: {path} {what}: mount the Secret that the operator made")
    return SecretStr(token)
