"""The program of `helm test`: the operator is ready, and the API server answers for both custom resources.

The chart puts it into its test pod, which has the operator's image and may only list these two resources.
Standard library alone; it tries for two minutes, because a release may still be starting.
"""  # noqa: INP001 - a file of the chart, in no package

import json
import os
import ssl
import sys
import time
import urllib.request
from pathlib import Path

ACCOUNT = Path(os.environ.get("ACCOUNT_DIR", "/var/run/secrets/kubernetes.io/serviceaccount"))
WAIT_S = float(os.environ.get("WAIT_S", "120"))


def ready() -> str:
    """Asks the operator over its Service; any status but 200 raises."""
    with urllib.request.urlopen(os.environ["READY_URL"], timeout=5) as answer:  # noqa: S310 - http, from the chart
        return f"operator ready: {answer.status}"


def listed(plural: str) -> str:
    """Asks the API server for at most one object of a kind."""
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    address = f"[{host}]" if ":" in host else host
    where = f"https://{address}:{os.environ['KUBERNETES_SERVICE_PORT']}/apis/fedloom.dev/v1alpha1/namespaces"
    request = urllib.request.Request(f"{where}/{os.environ['NAMESPACE']}/{plural}?limit=1")  # noqa: S310 - https
    request.add_header("Authorization", f"Bearer {(ACCOUNT / 'token').read_text()}")
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, timeout=5, context=context) as answer:  # noqa: S310 - https, from above
        return f"{plural} answer: {json.load(answer)['kind']}"


def main() -> int:
    """Prints one line per check; 1 when one of them fails to the end."""
    end = time.monotonic() + WAIT_S
    for check, words in ((ready, ()), (listed, ("federatedjobs",)), (listed, ("flclients",))):
        while True:
            try:
                print(check(*words), flush=True)  # noqa: T201 - the pod's log is the report
                break
            except (OSError, ValueError, KeyError) as error:
                if time.monotonic() > end:
                    print(f"{check.__name__} {' '.join(words)}: {error}", flush=True)  # noqa: T201
                    return 1
                time.sleep(2)
    return 0


sys.exit(main())
