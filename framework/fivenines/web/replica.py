"""One running replica as the stages see it: its runtime, its phase, its health, its proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fivenines._runtime import Runtime
from fivenines.health import Monitor
from fivenines.lifecycle import Lifecycle
from fivenines.web.forwarded import Proxies

if TYPE_CHECKING:
    from fivenines._types import Scope
    from fivenines.settings import Settings


class Replica:
    """What exists from the start of the lifespan to its end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.runtime = Runtime(settings)
        self.lifecycle = self.runtime.local(Lifecycle)
        self.proxies = Proxies(settings.trusted_networks)
        self.monitor = Monitor(
            self.runtime.store, self.lifecycle, store_is_critical=settings.redis_readiness == "critical"
        )
        self._admin_port = int(settings.admin_bind.rpartition(":")[2]) if settings.admin_bind else None

    def is_admin(self, scope: Scope) -> bool:
        """Whether a request came in on the admin port."""
        server: Any = scope.get("server")
        return self._admin_port is not None and server is not None and server[1] == self._admin_port

    async def start(self) -> None:
        """Begin to watch the store. Does not wait for it: the start-up probe does."""
        await self.runtime.store.open()
        self.monitor.start()

    async def close(self) -> None:
        """Stop watching, close what is open."""
        self.lifecycle.end()
        await self.monitor.stop()
        await self.runtime.close()
