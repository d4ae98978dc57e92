"""A name server on loopback that answers what it is told, and for everything else never does."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class NameServer:
    """`answers`: (name, type) → addresses; none: the name is there, without such addresses. `missing`: names that do
    not exist. `asked` holds every question that came, repetitions too.
    """

    def __init__(
        self, answers: dict[tuple[str, str], list[str]] | None = None, missing: set[str] | None = None
    ) -> None:
        self.answers = answers or {}
        self.missing = missing or set()
        self.asked: list[tuple[str, str]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._socket.getsockname()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> NameServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes whoever waits for a packet
        self._socket.close()
        self._thread.join(5)

    @property
    def setting(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                packet, client = self._socket.recvfrom(4096)
                if not packet:
                    return
                if reply := self._reply(dns.message.from_wire(packet)):
                    self._socket.sendto(reply.to_wire(), client)

    def _reply(self, query: dns.message.Message) -> dns.message.Message | None:
        question = query.question[0]
        name, kind = question.name.to_text().removesuffix("."), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        if name in self.missing:
            reply.set_rcode(dns.rcode.NXDOMAIN)
            return reply
        addresses = self.answers.get((name, kind))
        if addresses is None:
            return None
        if addresses:
            reply.answer.append(dns.rrset.from_text(question.name, 0, "IN", kind, *addresses))
        return reply
