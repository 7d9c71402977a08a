"""A server that shows what really arrives, byte by byte, and answers or breaks off as it is told to."""

import http.server
import ipaddress
import json
import os
import socket
import ssl
import struct
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Broken:
    """
    An answer that does not end as it should.

    :param content: what is sent of it
    :param then: what happens to the connection: it is closed, reset, stays open in silence, or some hundred blanks
        come before it is closed, now and then one
    """

    content: bytes
    then: Literal["close", "reset", "silence", "drip"]


class Wire:
    """
    The server in a thread of this process, on 127.0.0.1.

    ``answers`` holds responses in turn, the last of them for ever; an empty one drops the connection.

    :param stack: what stops the server
    :param tls: makes it speak TLS
    """

    def __init__(self, stack: ExitStack, tls: ssl.SSLContext | None = None) -> None:
        self.answers: list[bytes | Broken] = [self.page()]
        self.connections = 0
        self.blanks = 0
        self.requests: list[str] = []
        closing = threading.Event()
        wire = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                wire.requests.append(f"{self.raw_requestline.decode()}{self.headers}")
                answer = wire.answers.pop(0) if len(wire.answers) > 1 else wire.answers[0]
                if isinstance(answer, bytes):
                    self.wfile.write(answer)
                    self.close_connection = not answer
                    return
                self.wfile.write(answer.content)
                self.close_connection = True
                if answer.then == "silence":
                    closing.wait()
                elif answer.then == "drip":
                    for _ in range(300):
                        if closing.wait(0.02):
                            break
                        self.wfile.write(b" ")
                        wire.blanks += 1
                elif answer.then == "reset":
                    # Without lingering, the kernel says RST in the place of FIN.
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    os.close(self.connection.detach())

            # To a proxy.
            do_CONNECT = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            def get_request(self) -> tuple[socket.socket, Any]:
                connection, address = super().get_request()
                wire.connections += 1
                return connection, address

            def handle_error(self, *_: Any) -> None:
                pass

        server = Server(("127.0.0.1", 0), Handler)
        scheme = "http"
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            scheme = "https"
        self.base_url = f"{scheme}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        stack.callback(closing.set)

    @staticmethod
    def answer(status: int, body: bytes, **headers: str) -> bytes:
        """Write a response; the length that it declares can be given too."""
        fields = {"content-length": len(body), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"HTTP/1.1 {status} Status\r\n{head}\r\n".encode() + body

    @classmethod
    def page(cls, next_page: str | None = None) -> bytes:
        """Write the response of an empty page."""
        body = {"data": [], "has_more": next_page is not None, "next_page": next_page}
        return cls.answer(200, json.dumps(body).encode())


def self_signed_certificate(folder: Path) -> Path:
    """Return a file with a certificate of 127.0.0.1 that nobody trusts, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file
