"""Following the registry: when the alias names another version, that one is loaded beside the old and takes over.

A version that cannot be loaded leaves the old one in its place, is an error in the log and in the metrics, and is tried
again. So is a registry that does not answer; predictions never wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from snn_fusion.registry import versions
from snn_fusion.registry.tracking import connect
from snn_fusion.serving.logs import log
from snn_fusion.serving.settings import Settings
from snn_fusion.workspace import Workspace

if TYPE_CHECKING:
    from snn_fusion.serving.app import Service
    from snn_fusion.serving.reload import Reload


def named_now(settings: Settings) -> str | None:
    """The number of the version that the alias names; None if it names none. Raises BadInput, MLflow's errors."""
    found = versions.by_alias(connect(Workspace.default()), settings.registered, settings.model)
    return found.number if found else None


class Follow:
    """`reachable`: the registry answered last time; `failed`: what it names now is not what answers."""

    def __init__(self, settings: Settings, service: Service, reload: Reload) -> None:
        self.settings, self.service, self.reload = settings, service, reload
        self.reachable, self.failed = True, False

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self.settings.follow_s)
            await self.look()

    async def look(self) -> None:
        """Once: load what the alias names, if that is another version."""
        try:
            number = await asyncio.to_thread(named_now, self.settings)
        except Exception as error:  # of MLflow, its store, the network
            if self.reachable:
                log.error("the registry cannot be read", extra={"fields": {"why": type(error).__name__}})
            self.reachable = False
            return
        self.reachable = True
        if number == self.service.model.version:
            self.failed = False
        elif number is None:
            if not self.failed:
                log.error("the registry names no version", extra={"fields": {"alias": self.settings.model}})
            self.failed = True
        else:
            self.failed = "why" in await self.reload.now()


@contextlib.asynccontextmanager
async def following(follow: Follow | None) -> AsyncIterator[None]:
    """Within, `follow` looks again and again; None looks at nothing."""
    if follow is None:
        yield
        return
    task = asyncio.create_task(follow.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
