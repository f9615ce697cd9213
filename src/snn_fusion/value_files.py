"""Settings that are the content of a file, as containers get their secrets: the variables `..._FILE`."""

from __future__ import annotations

from pathlib import Path

from snn_fusion.errors import BadInput


def read_value(variable: str, path: str) -> str:
    """What a file of one value holds. Raises BadInput naming the variable."""
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise BadInput(
            variable, f"{path} cannot be read: {reason}", "the path of a file that holds the value"
        ) from None
