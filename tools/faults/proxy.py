"""The network between a process and a server, on Unix sockets, with switches.

`freeze()` holds every byte back until `thaw()`; `lose(marker, times)` lets whatever contains `marker` through to the
server, and loses the answer together with the connection; `delay(marker, seconds)` holds such an answer back.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

CHUNK = 1 << 16


@dataclass(slots=True)
class _Trap:
    marker: bytes
    times: int
    seconds: float | None


class Proxy:
    """Between whoever connects to the socket `front` and the server on the socket `back`."""

    def __init__(self, front: Path, back: Path) -> None:
        self._front, self._back = front, back
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._flow: asyncio.Event | None = None
        self._traps: list[_Trap] = []
        self._left = 0
        self._armed = False
        self._started = threading.Event()
        self.sprung = 0

    def __enter__(self) -> Proxy:
        self._front.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._thread.start()
        self._started.wait(5)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._front.unlink(missing_ok=True)

    def freeze(self) -> None:
        self._switch(lambda flow: flow.clear())

    def thaw(self) -> None:
        self._switch(lambda flow: flow.set())

    def lose(self, marker: str, times: int = 1) -> None:
        self._traps.append(_Trap(marker.encode(), times, None))

    def delay(self, marker: str, seconds: float, times: int = 1) -> None:
        self._traps.append(_Trap(marker.encode(), times, seconds))

    def lose_at(self, number: int) -> None:
        """Lose the answer to the `number`-th message from now, or of the next where that one has none."""
        self._left, self._armed = number, True

    def relent(self) -> None:
        """No more traps."""
        self._traps.clear()
        self._left, self._armed = 0, False

    def _switch(self, turn: Callable[[asyncio.Event], None]) -> None:
        if self._flow is not None:
            self._loop.call_soon_threadsafe(turn, self._flow)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._flow = asyncio.Event()
        self._flow.set()
        self._loop.run_until_complete(asyncio.start_unix_server(self._connection, str(self._front)))
        self._started.set()
        self._loop.run_forever()
        self._loop.set_exception_handler(lambda *_: None)  # what is cut off here was to be cut off
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back_reader, back_writer = await asyncio.open_unix_connection(str(self._back))
        except OSError:
            writer.close()
            return
        doom: list[float | None] = []
        up = asyncio.create_task(self._pump(reader, back_writer, doom, upwards=True))
        down = asyncio.create_task(self._pump(back_reader, writer, doom, upwards=False))
        try:
            await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
            down.cancel()
            if doom and self._armed:  # a message that nobody answers: the end of a connection
                self._left = 1
            writer.close()
            back_writer.close()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, doom: list[float | None], *, upwards: bool
    ) -> None:
        while data := await source.read(CHUNK):
            if self._flow is not None:
                await self._flow.wait()
            if upwards:
                self._look(data, doom)
            elif doom:
                seconds = doom.pop()
                self.sprung += 1
                self._armed = False
                await asyncio.sleep(0.05 if seconds is None else seconds)
                if seconds is None:
                    return
            sink.write(data)
            await sink.drain()

    def _look(self, data: bytes, doom: list[float | None]) -> None:
        self._left -= 1
        if self._left == 0:
            doom.append(None)
        for trap in self._traps:
            if trap.times > 0 and trap.marker in data:
                trap.times -= 1
                doom.append(trap.seconds)
