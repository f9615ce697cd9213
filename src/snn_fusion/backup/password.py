"""The password that backups are encrypted with: always in a file, long enough, and never readable by everybody."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from snn_fusion.backup.settings import PASSWORD_FILE, Settings, is_folder
from snn_fusion.errors import BadInput
from snn_fusion.workspace import disk_errors

LENGTH = 16  # characters that a password has at least
DIFFERENT = 6  # how many of them differ at least


def default_password_file() -> Path:
    """Where a password that was created here is kept: outside of the workspace, which a backup is to outlive."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "snn-fusion" / "backup-password"


def password_file(settings: Settings) -> Path:
    """The file with the password. Raises BadInput if there is none, it is weak, or others can read it."""
    path = settings.password or default_password_file()
    if not path.exists():
        remedy = f"put the password that you kept into a file of mode 600, and name it in {PASSWORD_FILE}"
        raise BadInput(path, "there is no such file, and without the password no backup can be read", remedy)
    check(path)
    return path


def create_on_first_use(settings: Settings) -> Path | None:
    """Create a password if no file is named and the place, a folder, holds no backups yet; its file, if created."""
    path = default_password_file()
    if settings.password or path.exists() or not is_folder(settings.place):
        return None
    if Path(settings.place, "config").exists():
        return None  # its password is not here
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    return path


def check(path: Path) -> None:
    """Raises BadInput if the password in this file is weak, or others can read it."""
    make = f"make one: (umask 077; head -c 32 /dev/urandom | base64 > {path})"
    try:
        text, mode = path.read_text().strip(), path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(path, f"cannot be read: {getattr(error, 'strerror', None) or 'not text'}", make) from None
    if mode & 0o007:
        raise BadInput(path, f"everybody can read the backup's password (mode {mode & 0o777:o})", f"chmod 600 {path}")
    if len(text) < LENGTH:
        raise BadInput(path, f"the password has {len(text)} characters, not {LENGTH} or more", make)
    if len(set(text)) < DIFFERENT:
        raise BadInput(path, f"only {len(set(text))} characters of the password differ, not {DIFFERENT} or more", make)
