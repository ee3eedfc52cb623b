"""Whether a Ray cluster can be used, within ten seconds: asked for an address where there is none, Ray hangs."""

import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep

from evomal.foundation.errors import QUOTED, SettingError

PATIENCE = 3.0  # seconds for a connection, and again for a first answer
TROUBLED = 6.0  # seconds, after which what Ray complains of is not waited out
LOOKING = 6  # seconds in which Ray may look for a node on this machine; its own choice is a minute
DEADLINE = 90.0  # seconds in all: a loaded machine takes long to import Ray
PAUSE = 0.05  # seconds between two looks
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How HTTP/2 begins (RFC 9113, Section 3.4), which Ray speaks, with empty settings."""
SETTINGS = 4  # the kind of the frame that a server answers with
START = "give HOST:PORT as `ray start` prints it on the head node"


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of a cluster.

    Args:
        address: ``HOST:PORT``; an IPv6 address in brackets.

    Raises:
        SettingError: It is not that.

    Example:
        >>> parse_address("head.cluster:6379"), parse_address("[::1]:6379")
        (('head.cluster', 6379), ('::1', 6379))
    """
    if address.startswith("ray://"):
        raise SettingError(
            f"setting 'address': '{address}' is for Ray Client, which evomal does not use; make this machine a node "
            "by `ray start`, and give HOST:PORT"
        )
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^\s:/\[\]]+)):([0-9]{1,5})", address)
    if found is None or not 0 < int(found[3]) < 65536:
        raise SettingError(f"setting 'address': '{address}' is not HOST:PORT; {START}")
    return found[1] or found[2], int(found[3])


def require_cluster(address: str) -> None:
    """Refuse an address at which there is no Ray cluster that this process can work with.

    Raises:
        SettingError: What is wrong there.
    """
    _require_greeting(address)
    code, said = _connected(address)
    if code != 0:
        raise SettingError(_reason(address, code, said))


def _require_greeting(address: str) -> None:
    """Something listens, and speaks HTTP/2 (but for TLS, whose greetings are left to Ray)."""
    try:
        with socket.create_connection(parse_address(address), PATIENCE) as connection:
            connection.settimeout(PATIENCE)
            connection.sendall(GREETING)
            answer = connection.recv(9)
    except TimeoutError:
        answer = b""
    except OSError as error:
        why = error.strerror or error
        raise SettingError(f"no Ray cluster answers at {address} ({why}); is it running? {START}") from None
    if (len(answer) < 4 or answer[3] != SETTINGS) and os.environ.get("RAY_USE_TLS", "0") != "1":
        raise SettingError(f"what answers at {address} is no Ray cluster, or it hangs; {START}")


def _connected(address: str) -> tuple[int | None, str]:
    """Exit code, and errors, of a process that connects; the code is None where it would have gone on for minutes."""
    start = monotonic()
    with tempfile.TemporaryFile() as errors:
        # It finds this very package, and no file of the current folder that is named like a library.
        command = [sys.executable, "-P", "-m", "evomal.executors.ray_probe", address]
        found_at = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
        environment = os.environ | {"RAY_gcs_server_request_timeout_seconds": str(LOOKING), "PYTHONPATH": found_at}
        child = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
        )
        try:
            while child.poll() is None and monotonic() - start < DEADLINE:
                if monotonic() - start > TROUBLED and "gcs_client" in _text(errors.fileno()):
                    break
                sleep(PAUSE)
        finally:
            code = child.poll()
            child.kill()  # not to be terminated while it waits
            child.wait()
        return code, _text(errors.fileno())


def _text(file: int) -> str:
    return os.pread(file, 100_000, 0).decode(errors="replace")


def _reason(address: str, code: int | None, said: str) -> str:
    """One sentence."""
    versions = re.findall(r"(Ray|Python): (\S+)", said)
    if "Version mismatch" in said and len(versions) == 4:
        (_, ray), (_, python), (_, own_ray), (_, own_python) = versions
        return (
            f"the cluster at {address} runs Ray {ray} on Python {python}, this process Ray {own_ray} on Python "
            f"{own_python}; install the same here"
        )
    if "Unauthenticated" in said or "AuthenticationError" in said or "auth token" in said.lower():
        return (
            f"the cluster at {address} does not take our token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a "
            "file with the cluster's"
        )
    if "rpc_code: 12" in said:
        return f"what answers at {address} speaks as Ray does, but is not the head of a cluster; {START}"
    if code is None:
        return f"the Ray cluster at {address} does not answer; is it overloaded? {START}"
    why = " ".join(said.split())[-QUOTED:] or f"exit code {code}"
    return f"the Ray cluster at {address} cannot be used ({why}); is this machine a node of it (by `ray start`)?"
