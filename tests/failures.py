"""Names a test as soon as it fails: a run takes minutes, and somebody may be looking. Used by conftest.py."""

import pytest


class AsTheyCome:
    """A line per failure, in front of what pytest shows at the end."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.failed:
            return
        crash = getattr(report.longrepr, "reprcrash", None)
        why = crash.message.partition("\n")[0] if crash else ""
        self._terminal.write(f"\nFAILED {report.nodeid} ({report.when}) {why}\n", flush=True)


def tell(session: pytest.Session) -> None:
    """In the process that reports; its workers have nobody to tell."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal and not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(AsTheyCome(terminal))
