"""Another model while the service runs: loaded and warm before it takes over; requests in flight keep theirs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from snn_fusion.errors import BadInput
from snn_fusion.serving.logs import log
from snn_fusion.serving.model import Model
from snn_fusion.serving.settings import Settings
from snn_fusion.serving.warm import fresh

if TYPE_CHECKING:
    from snn_fusion.serving.app import Service


class Reload:
    """One at a time. What is loaded is what the settings name now: `champion` may be another version than before."""

    def __init__(self, service: Service, load: Callable[[Settings], Model]) -> None:
        self.service, self.load = service, load
        self._alone = asyncio.Lock()

    async def now(self) -> dict[str, Any]:
        """`reloaded`, the version and digest that are served from now on; if it failed, `why`, and all is as before."""
        async with self._alone:
            try:
                model = await asyncio.to_thread(fresh, self.load, self.service.settings)
            except BadInput as error:
                log.error("the model cannot be loaded", extra={"fields": {"why": str(error)}})
                return self._said(False) | {"why": str(error)}
            changed = _identity(model) != _identity(self.service.model)
            if changed:
                await asyncio.to_thread(self.service.identity, model)  # reads all code: not in the first request
                self.service.model, self.service.loaded_at = model, time.time()
                log.info("another model", extra={"fields": {"version": model.version, "digest": model.graph.digest}})
            return self._said(changed)

    def _said(self, reloaded: bool) -> dict[str, Any]:
        model = self.service.model
        return {"reloaded": reloaded, "version": model.version, "digest": model.graph.digest}


def _identity(model: Model) -> tuple[str, str, str]:
    return model.version, model.graph.digest, model.arithmetic
