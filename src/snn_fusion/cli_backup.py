"""`snn-fusion backup`, `restore` and `drill`: an installation kept elsewhere, brought back, and tried."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from snn_fusion.backup.settings import Only
from snn_fusion.cli_common import Json, ParamsFile, read_params, show
from snn_fusion.errors import BadInput
from snn_fusion.workspace import Workspace


def backup(
    to: Annotated[
        str | None,
        typer.Option(help="A folder, or a restic repository (sftp:..., s3:...) [default: SNN_FUSION_BACKUP_PLACE]"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A snapshot only: nothing old is removed, nothing is read back.")
    ] = False,
    schedule: Annotated[
        bool, typer.Option("--schedule", help="Stay, and do both when they are due, as in a container.")
    ] = False,
    params: ParamsFile = None,
    as_json: Json = False,
) -> None:
    """Back up workspace, registry, keys and PostgreSQL: encrypted, 30 days kept, read back after each run.

    No stage waits for it. Where, how long, a second place, PostgreSQL: SNN_FUSION_BACKUP_..., docs/backup.md.

    **Examples**

        snn-fusion backup --to /mnt/disk/snn-fusion

        snn-fusion backup --quick
    """
    from snn_fusion.backup import make
    from snn_fusion.backup.schedule import schedule as keep_schedule
    from snn_fusion.backup.settings import Settings

    if schedule and (to or quick):
        raise BadInput("--schedule", "takes its place from the environment", "set SNN_FUSION_BACKUP_PLACE")
    settings = Settings.from_environment(to)
    if schedule:
        return keep_schedule(Workspace.default(), settings)
    show(make.backup(read_params(params), Workspace.default(), settings, quick), as_json)


def restore(
    place: Annotated[
        str | None,
        typer.Option("--from", help="The place of backups [default: SNN_FUSION_BACKUP_PLACE, else the DVC remote]"),
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="As it was then, for example 2026-03-01T14:30 [default: the newest]")
    ] = None,
    only: Annotated[Only | None, typer.Option(help="The workspace with its artefacts, or PostgreSQL, alone")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="In the place of what is there, which is kept aside.")
    ] = False,
    dvc: Annotated[bool, typer.Option("--dvc", help="From the DVC remote, whatever places are set.")] = False,
    params: ParamsFile = None,
    as_json: Json = False,
) -> None:
    """Bring an installation back from a backup, or registry and data from the DVC remote, into an empty workspace.

    A damaged backup is named, and the one before is taken. Before it is put in place it is looked at: the champion
    loads, its digests fit, it answers as it did. docs/backup.md; for the DVC remote docs/registry.md.

    **Examples**

        snn-fusion restore --from /mnt/disk/snn-fusion

        snn-fusion restore --at 2026-03-01T14:30 --replace

        SNN_FUSION_DVC_REMOTE=/mnt/backup/dvc snn-fusion restore
    """
    from snn_fusion.backup import restore as work
    from snn_fusion.backup.settings import PREFIX, Settings

    placed = place or os.environ.get(f"{PREFIX}PLACE") or os.environ.get(f"{PREFIX}PLACE_FILE")
    if dvc or not placed:
        if place or at or only or replace:
            raise BadInput("--at, --only, --replace", "are for a place of backups", "name it: --from PLACE")
        from snn_fusion.registry import snapshot

        return show(snapshot.restore(read_params(params), Workspace.default()), as_json)
    request = work.Request(work.parse_moment(at) if at else None, only, replace)
    show(work.restore(read_params(params), Workspace.default(), Settings.from_environment(place), request), as_json)


def drill(
    place: Annotated[
        str | None, typer.Option("--from", help="The place of backups [default: SNN_FUSION_BACKUP_PLACE]")
    ] = None,
    params: ParamsFile = None,
    as_json: Json = False,
) -> None:
    """Restore the newest backup into an empty place and compare: champion, record, answers to 100 recordings.

    The DAG `rehearse_restore` does it every week.

    **Examples**

        snn-fusion drill

        snn-fusion drill --from /mnt/disk/snn-fusion --json
    """
    from snn_fusion.backup import drill as work
    from snn_fusion.backup.settings import Settings

    settings, ws = Settings.from_environment(place), Workspace.default()
    show(work.request(ws) if settings.by else work.drill(read_params(params), ws, settings), as_json)
