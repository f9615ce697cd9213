"""Whether anything answers where an MLflow server should be: asked before MLflow is imported, which takes seconds."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit, urlunsplit

REACH_S = 3.0  # in all, however slowly bytes come; with the start of a program on a busy machine well under 10 s
TRIES, PAUSE_S = 2, 0.5
QUESTION = "/api/2.0/mlflow/experiments/search?max_results=1"


def check_reachable(uri: str) -> None:
    """Raises OSError if nothing answers. Any answer will do: what it means, MLflow's own client will say."""
    if urlsplit(uri).scheme not in ("http", "https"):
        return
    said: list[OSError | None] = []
    asking = threading.Thread(target=lambda: said.append(_ask(uri)), daemon=True)  # one that hangs must not keep us
    asking.start()
    asking.join(REACH_S)
    problem = said[0] if said else TimeoutError(f"no answer in {REACH_S:g} s")
    if problem is not None:
        raise problem


def _ask(uri: str) -> OSError | None:
    """What went wrong in the last try; None if there was an answer."""
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]  # without a password: that one is wanted is an answer too
    url = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", "")) + QUESTION
    problem: OSError | None = None
    for number in range(TRIES):
        time.sleep(PAUSE_S if number else 0)
        try:
            urllib.request.urlopen(url, timeout=REACH_S).close()
        except urllib.error.HTTPError:
            return None
        except OSError as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLError):
                return None  # which certificates are trusted, MLflow is told by variables of its own
            problem = reason if isinstance(reason, OSError) else error
        except (http.client.HTTPException, ValueError):
            return None
        else:
            return None
    return problem
