"""`serve()`: one replica under gunicorn, after a look at everything that can be wrong beforehand."""

# mypy: allow-untyped-calls
from __future__ import annotations

import errno
import os
import socket
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from gunicorn.app.base import BaseApplication
from gunicorn.errors import AppImportError

from fivenines.errors import ConfigurationError
from fivenines.observe import logging
from fivenines.server import config, drain
from fivenines.server import target as targets

if TYPE_CHECKING:
    from fivenines.settings import Settings


def serve(target: str, settings: Settings, *, reload: bool = False) -> NoReturn:
    """Run `module:attribute` until SIGTERM, then exit 0; does not return.

    Raises ConfigurationError for what the configuration has wrong, before a port is opened or after a worker
    found it; exits 1 when the service cannot start for another reason.
    """
    check_settings(settings)
    targets.put_working_folder_on_path()
    if not _listeners_are_inherited():
        check_ports(settings)
    targets.check(target)
    logging.configure(settings.log_format, settings.log_level)
    page = drain.ReplicaPage()
    arbiter = os.getpid()
    try:
        _Application(target, settings, page, reload=reload).run()
    except SystemExit as stop:
        # Workers are forked inside run(), so they pass here as well.
        if os.getpid() != arbiter or not stop.code:
            raise
        if page.refusal is None:
            raise SystemExit(1) from None
        logging.flush()  # the reason is the last thing to be read
        reason, configuration = page.refusal
        if configuration:
            raise ConfigurationError(reason) from None
        print(f"fivenines: {target} did not start: {reason}", file=sys.stderr)
        raise SystemExit(1) from None
    raise SystemExit(0)


def check_settings(settings: Settings) -> None:
    """Refuse what must not be served: no secret, or what is meant for one machine open to others."""
    settings.require_secret_keys()
    open_address = next((each for each in config.addresses(settings) if not each.is_loopback), None)
    if open_address is None:
        return
    where = f"{open_address.variable}={open_address} is open to other machines"
    if settings.session_cookie == "insecure":
        raise ConfigurationError(
            f"FIVENINES_SESSION_COOKIE=insecure is for loopback only, and {where}; set it to secure"
        )
    if os.environ.get("ORDERS_DEMO_LOGIN", "").lower() == "on":
        raise ConfigurationError(f"ORDERS_DEMO_LOGIN=on lets anyone log in as anyone, and {where}; unset it")


def check_ports(settings: Settings) -> None:
    """Bind each address once and let go: gunicorn tries a taken one for 5 s and names no cure."""
    for address in config.addresses(settings):
        try:
            family, kind, _, _, resolved = socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(resolved)
                probe.listen(1)
        except OSError as error:
            raise ConfigurationError(_port_problem(address, error)) from None


def _port_problem(address: config.Address, error: OSError) -> str:
    variable = address.variable
    elsewhere = f"{address.variable}={address._replace(port=address.port % 65_535 + 1)}"
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {address.port} is taken ({address}): stop what listens there or set {elsewhere}"
        case errno.EACCES:
            return f"port {address.port} needs more rights ({address}): set {variable} to one above 1023"
        case _:
            return f"cannot listen on {address}: {error.strerror}; set {variable} to an address of this machine"


def _listeners_are_inherited() -> bool:
    """True after SIGUSR2, where the old arbiter hands its sockets over, and under systemd."""
    return "GUNICORN_FD" in os.environ or "LISTEN_FDS" in os.environ


class _Application(BaseApplication):
    """Carries target, settings and page from here to the arbiter and the workers."""

    def __init__(self, target: str, settings: Settings, page: drain.ReplicaPage, *, reload: bool) -> None:
        self.target, self.settings, self.page, self.reloads = target, settings, page, reload
        super().__init__()

    def load_config(self) -> None:
        chosen = config.gunicorn_settings(self.settings, on_starting=self._starting(), reload=self.reloads)
        gunicorn: Any = self.cfg
        for name, value in chosen.items():
            gunicorn.set(name, value)

    def _starting(self) -> Any:
        def on_starting(arbiter: Any) -> None:
            # SIGUSR2 starts the program anew: by module, since the path of __main__.py would put the
            # package's own folder on sys.path.
            arbiter.START_CTX["args"] = [sys.executable, "-m", "fivenines", *sys.argv[1:]]
            drain.install(arbiter, self.page, self.settings.drain)

        return on_starting

    def load(self) -> Any:
        """Called in each worker."""
        try:
            return targets.resolve(self.target)
        except ConfigurationError as error:
            if self.reloads:
                raise
            self.page.refuse(str(error), configuration=True)
            raise AppImportError(str(error)) from error
