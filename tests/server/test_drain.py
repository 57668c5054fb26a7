"""SIGTERM, as clients, balancers and operators see it: real processes, real sockets."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from fivenines.server.drain import ReplicaPage

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow


def test_readiness_fails_at_once_while_the_replica_serves_on(replica: Callable[..., object], eventually) -> None:
    """Within 100 ms /readyz is 503 on both ports; all else answers 200, closing, for the whole drain."""
    running = replica(FIVENINES_DRAIN="2.5", FIVENINES_WORKERS="2")
    assert running.get("/readyz").status == 200
    assert not {"connection", "server"} & running.get("/").headers.keys()

    began = time.monotonic()
    running.send(signal.SIGTERM)
    time.sleep(0.1)  # what is promised; how long the question itself takes is the machine's affair
    assert running.get("/readyz").status == 503
    answers = []
    while time.monotonic() - began < 1.4:
        assert running.get("/readyz", port=running.admin_port).status == 503
        answers += [running.get("/"), running.get("/livez"), running.get("/livez", port=running.admin_port)]

    assert {answer.status for answer in answers} == {200}
    assert {answer.headers["connection"] for answer in answers} == {"close"}
    assert running.wait() == 0
    assert time.monotonic() - began >= 2.5


def test_request_in_flight_is_finished_and_lifespan_shutdown_runs(replica, eventually) -> None:
    """A request longer than the drain still gets its answer, and the application is told of the end."""
    running = replica(FIVENINES_DRAIN="0.2")
    answers = []
    client = threading.Thread(target=lambda: answers.append(running.get("/slow/1.5")))
    client.start()
    eventually((running.folder / "slow").exists)

    running.send(signal.SIGTERM)
    client.join()

    assert [answer.status for answer in answers] == [200]
    assert running.wait() == 0
    assert (running.folder / "stopped").read_text() == "stopped"


def test_idle_connection_gets_one_more_answer(replica, eventually) -> None:
    """A balancer's kept connection is answered during the drain, told to close, and closed."""
    running = replica(FIVENINES_DRAIN="2")
    sock = running.connect().sock
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200 OK" in sock.recv(4096)

    running.send(signal.SIGTERM)
    eventually(lambda: running.get("/readyz").status == 503)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b"".join(iter(lambda: sock.recv(4096), b""))  # to the end, which the replica makes

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.count(b"Connection: close") == 1
    assert running.process.poll() is None


def test_silent_connection_does_not_hold_the_stop(replica) -> None:
    """Idle clients at keepalive 75 cost no grace: stock gunicorn waits for them, then is killed."""
    running = replica(FIVENINES_DRAIN="1.2")
    idle, fresh = running.connect(), running.connect()
    running.get("/", connection=idle)

    began = time.monotonic()
    running.send(signal.SIGTERM)

    assert running.wait() == 0
    assert time.monotonic() - began < 10.0  # keep-alive is 75 s, the grace 30 s
    assert (running.folder / "stopped").exists()
    assert idle.sock.recv(1) == fresh.sock.recv(1) == b""


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_connection_just_made_is_answered_when_the_listener_is_closed(replica, eventually) -> None:
    """A client whose handshake ended just before the listener closed may still send its request."""
    running = replica(FIVENINES_DRAIN="0")
    connection = running.connect()
    time.sleep(0.05)  # the request is under way while the listener closes: this is the race under test
    running.send(signal.SIGTERM)
    eventually(lambda: refuses(running.port))

    assert running.get("/", connection=connection).status == 200
    assert running.wait() == 0


def test_second_sigterm_skips_the_wait(replica, eventually) -> None:
    """An impatient operator still gets a clean stop."""
    running = replica(FIVENINES_DRAIN="60")
    running.send(signal.SIGTERM)
    eventually(lambda: running.get("/readyz").status == 503)

    running.send(signal.SIGTERM)

    assert running.wait(20) == 0
    assert (running.folder / "stopped").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_interrupt_stops_at_once(replica, number: signal.Signals) -> None:
    """Ctrl-C waits for no request, drain or not; the application is told of the end all the same."""
    running = replica(FIVENINES_DRAIN="60")
    connection = running.connect()
    connection.request("GET", "/stream")
    assert connection.getresponse().read(4) == b"more"

    running.send(number)

    assert running.wait(20) == 0
    assert (running.folder / "stopped").exists()


def test_killed_worker_is_replaced_and_knows_of_the_drain(replica, eventually) -> None:
    """SIGKILL costs one worker; its successor shares the page, so it never says ready in a drain."""
    running = replica(FIVENINES_DRAIN="30")
    first = int(running.get("/").body)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: int(_try(running, "/") or first) != first)

    running.send(signal.SIGTERM)
    eventually(lambda: running.get("/readyz").status == 503)
    second = int(running.get("/").body)
    os.kill(second, signal.SIGKILL)
    eventually(lambda: int(_try(running, "/") or second) != second)

    assert running.get("/readyz").status == 503


def test_hangup_loads_new_code(replica, eventually) -> None:
    """SIGHUP replaces the workers by ones with the application as it is on disk now."""
    running = replica(FIVENINES_DRAIN="0")
    source = (running.folder / "app.py").read_text()
    (running.folder / "app.py").write_text(source.replace("str(os.getpid()).encode()", "b'new code'"))

    running.send(signal.SIGHUP)

    eventually(lambda: running.get("/").body == "new code")
    running.send(signal.SIGTERM)
    assert running.wait() == 0


def test_connection_that_was_promised_to_stay_is_kept_over_a_hangup(replica, eventually) -> None:
    """An answer whose head said keep-alive is followed by one more; only that one's head says close.

    Stock gunicorn closes right after the first, and the client's next request is lost.
    """
    running = replica(FIVENINES_DRAIN="0")
    connection = running.connect()
    old = running.get("/", connection=connection).body
    connection.request("GET", "/halves/1")
    response = connection.getresponse()
    assert response.getheader("connection") is None

    running.send(signal.SIGHUP)
    eventually(lambda: running.get("/").body != old)  # the new worker serves, the old one finishes
    assert response.read() == b"ab"
    answer = running.get("/", connection=connection)

    assert (answer.status, answer.body, answer.headers["connection"]) == (200, old, "close")


def test_endless_stream_is_cut_and_lifespan_shutdown_still_runs(replica) -> None:
    """What does not end by itself is named in the log and cancelled before the arbiter kills the worker."""
    running = replica(FIVENINES_DRAIN="0", FIVENINES_GRACEFUL_TIMEOUT="2")
    connection = running.connect()
    connection.request("GET", "/stream")
    assert connection.getresponse().read(4) == b"more"

    running.send(signal.SIGTERM)

    assert running.wait() == 0
    assert (running.folder / "stopped").exists()
    assert "cut off: GET /stream" in running.log.read_text()
    assert "SIGKILL" not in running.log.read_text()


def test_worker_that_finishes_long_work_is_not_taken_for_dead(replica, eventually) -> None:
    """A worker that shall go heartbeats while it finishes; stock gunicorn kills it after `timeout`."""
    running = replica(FIVENINES_DRAIN="0", FIVENINES_WORKERS="2", FIVENINES_WORKER_TIMEOUT="1")
    answers = []
    clients = [threading.Thread(target=lambda: answers.append(running.get("/slow/3"))) for _ in range(8)]
    for client in clients:
        client.start()
    eventually(lambda: (running.folder / "slow").exists() and len((running.folder / "slow").read_text()) == 8)

    running.send(signal.SIGTTOU)  # one worker less
    for client in clients:
        client.join()

    assert [answer.status for answer in answers] == [200] * 8
    assert "TIMEOUT" not in running.log.read_text()


def test_page_is_shared_with_processes_forked_later() -> None:
    """What one process writes, the others read: no Redis, no file."""
    page = ReplicaPage()
    child = os.fork()
    if child == 0:
        page.begin_drain()
        page.refuse("no key … in FIVENINES_SECRET_KEYS", configuration=True)
        os._exit(0)
    os.waitpid(child, 0)

    assert page.draining
    assert page.refusal == ("no key … in FIVENINES_SECRET_KEYS", True)


def test_new_page_says_nothing() -> None:
    """A replica that starts is neither draining nor refused."""
    page = ReplicaPage()

    assert (page.draining, page.refusal) == (False, None)


def _try(running, path: str) -> str:
    try:
        return running.get(path).body
    except OSError:
        return ""
