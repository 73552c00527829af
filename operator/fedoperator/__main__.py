"""`python -m fedoperator`: reads the settings, sets up logging, runs the operator until it ends."""

import asyncio
import logging
import sys

from fedapi import jsonlog
from fedapi.outcome import Exit
from fedoperator.errors import SettingsInvalidError
from fedoperator.settings import OperatorSettings

SWITCH_INTERVAL_S = 0.0005  # threads that wait for the API server give way; 5 ms each time would add up


def main() -> int:
    """The exit code."""
    try:
        settings = OperatorSettings.from_environment()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        jsonlog.configure(settings.log_level)
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns of every connection that it opens anew
        logging.getLogger("fedoperator").info("settings %s", settings.model_dump_json())
        from fedoperator.lifecycle import Operator  # noqa: PLC0415 - a wrong setting is told before seconds of imports

        return asyncio.run(Operator(settings).run())
    except SettingsInvalidError as error:
        print(f"fedoperator: {error}", file=sys.stderr)
        return Exit.BAD_SETTINGS


if __name__ == "__main__":
    sys.exit(main())
