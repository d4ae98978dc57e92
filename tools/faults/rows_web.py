"""F22–F28: the web tier."""

from __future__ import annotations

import contextlib
import threading
import time

from tools.faults.load import order_for
from tools.faults.rows import row
from tools.faults.rows_workers import client, expect, kill
from tools.faults.world import WEB, World

#: A gate that is silent costs two seconds, a broker two more; the machine may be busy.
BOUND = 15.0


@row("F22", "web process killed after the commit, before the message")
def killed_after_commit(world: World) -> str:
    world.strike("web.after_commit", times=4)
    return "SIGKILL at web.after_commit, 4 times; clients ask again under the same key"


@row("F23 F42", "web process killed between the hold and the commit", after=40)
def killed_before_commit(world: World) -> str:
    world.strike("web.before_commit", times=10)
    return "SIGKILL at web.before_commit, 10 times: ten holds without a row"


@row("F24", "web process killed after the message, before the answer")
def killed_after_publish(world: World) -> str:
    world.strike("web.after_publish", times=4)
    return "SIGKILL at web.after_publish, 4 times; clients ask again under the same key"


@row("F25", "the gate frozen while 50 clients submit", rate=4)
def frozen_gate(world: World) -> str:
    took: list[float] = []

    def ask() -> None:
        asking, order = client(world), order_for(world.accounts[0], "echo")
        body = {"input": {}, "metadata": {"key": order.key}}
        began = time.monotonic()
        answer, _ = asking.ask("frozen", order.account, "POST", "/tools/echo/invoke", json=body)
        took.append(time.monotonic() - began)
        expect(answer in ("202", "429", "503"), f"answered {answer}")

    world.freeze(world.redis)
    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    world.sleep(15)
    world.thaw(world.redis)
    for thread in threads:
        thread.join()
    expect(max(took) < BOUND, f"the slowest answer took {max(took):.1f} s")
    return f"SIGSTOP to the gate for 15 s; 50 submits at once were answered within {max(took):.1f} s"


@row("F26", "200 submits at once under one key")
def one_key(world: World) -> str:
    ids, answers = set(), []
    order = order_for(world.accounts[0], "echo")
    gate = threading.Barrier(200)

    def ask() -> None:
        gate.wait()
        body = {"input": {}, "metadata": {"key": order.key}}
        answer, said = client(world).ask(
            "twins", order.account, "POST", "/tools/echo/invoke", json=body, headers={"Idempotency-Key": order.key}
        )
        answers.append(answer)
        if answer in ("200", "202"):
            ids.add(said["data"]["id"])

    threads = [threading.Thread(target=ask) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    order.ids = ids
    world.history.begin(order)
    expect(len(ids) == 1, f"{len(ids)} invocations under one key")
    return f"200 threads behind one barrier: one invocation, {len(answers) - answers.count('lost')} answers"


@row("F28", "web processes killed once a second under load")
def killed_at_1_hz(world: World) -> str:
    killed = 0
    for _ in range(12):
        workers = world.web_workers()
        if workers:
            with contextlib.suppress(ProcessLookupError):
                kill(workers[killed % len(workers)])
            killed += 1
        world.sleep(1)
    world.sleep(5)
    query = "select count(*) from pg_stat_activity where application_name = 'joyfull-web'"
    sessions = world.number(query)
    expect(sessions <= WEB * 16, f"{sessions} sessions of web are open")
    return f"SIGKILL to a web process every second, {killed} times; {sessions} sessions of web afterwards"
