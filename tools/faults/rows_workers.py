"""F01–F21: workers and the broker."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

from common.queueing import messages
from dev.supervisor import Child
from tools.faults.load import Client, Order, order_for
from tools.faults.memory import Told
from tools.faults.proxy import Proxy
from tools.faults.rows import row
from tools.faults.world import Violation, World

WORKERS = ("invocations-1", "invocations-2")
LOST_WITHIN = 100


def client(world: World) -> Client:
    return Client(world.hub.url, world.history)


def ended(world: World, order: Order, within: float = LOST_WITHIN) -> Told:
    """The invocation of this order, once it has ended."""
    (id_,) = order.ids
    asking = client(world)

    def end() -> Told | None:
        answer, said = asking.ask("read", order.account, "GET", f"/invocations/{id_}")
        if answer != "200" or said["data"]["status"] in ("queued", "running"):
            return None
        return dict(said["data"])

    return world.wait_until(f"the end of {id_}", end, within)


def expect(true: object, what: str) -> None:
    if not true:
        raise Violation(what)


@row("F01", "worker killed after it received a message, before it claims anything")
def killed_before_claim(world: World) -> str:
    world.strike("worker.received", times=3)
    return "SIGKILL at worker.received, 3 times"


@row("F02", "worker killed right after it took an invocation")
def killed_after_claim(world: World) -> str:
    world.strike("worker.after_claim", times=3)
    return "SIGKILL at worker.after_claim, 3 times"


@row("F03", "worker killed in the middle of a call")
def killed_in_call(world: World) -> str:
    orders = [client(world).submit(order_for(world.accounts[0], tool)) for tool in ("long", "once-long")]
    for order in orders:
        (id_,) = order.ids
        world.wait_until("the call", partial(_called_or_lost, world, id_), LOST_WITHIN)
        if name := world.holder(id_):
            world.children[name].kill()
    again, once = (ended(world, order) for order in orders)
    expect(again["status"] == "succeeded" and again["attempts"] == 2, f"what may be repeated: {again}")
    expect((once["error"] or {}).get("code") == "worker_lost", f"what must not be repeated: {once}")
    return "SIGKILL to the processes that were calling an idempotent tool and one that is not"


@row("F04", "worker killed after it read the answer, before it wrote the end")
def killed_after_answer(world: World) -> str:
    world.strike("worker.response_read", times=3)
    return "SIGKILL at worker.response_read, 3 times"


@row("F05 F65", "worker killed after the end was written, before the gate and the webhook workers are notified")
def killed_after_commit(world: World) -> str:
    world.strike("worker.after_commit", times=3)
    return "SIGKILL at worker.after_commit, 3 times"


@row("F06", "worker killed after the settlement, and at the end of its job")
def killed_after_settle(world: World) -> str:
    world.strike("worker.after_settle", times=2)
    world.strike("worker.after_ack")
    return "SIGKILL at worker.after_settle, twice, and at worker.after_ack"


@row("F07", "one worker process of two killed, the other lives")
def one_of_several(world: World) -> str:
    world.down.add("invocations-1")
    world.children["invocations-1"].kill()
    world.sleep(8)
    world.down.discard("invocations-1")
    return "SIGKILL to one worker process, kept down for 8 s"


@row("F08", "worker frozen until its claims are taken back, then woken")
def woken(world: World) -> str:
    world.strike("worker.response_read", "stop:60")
    world.sleep(62)
    return "SIGSTOP for 60 s at worker.response_read, then SIGCONT"


@row("F09", "SIGTERM to everything in turn, under load (a deployment)", rate=15)
def deploy(world: World) -> str:
    took = []
    for name in (*WORKERS, "webhooks-1", "sweeps-1", "web"):
        child, began = world.children[name], time.monotonic()
        child.signal(signal.SIGTERM)
        world.down.add(name)
        world.wait_until(f"{name} to end", partial(_is_over, child), 40)
        took.append(f"{name} {time.monotonic() - began:.1f} s")
        world.down.discard(name)
        world.sleep(4)
    world.stops = took
    return "SIGTERM; they ended after " + ", ".join(took)


@row("F10", "worker told to quit while its COMMIT is under way")
def quit_in_commit(world: World) -> str:
    struck = 0
    with world.postgres_proxy() as proxy:
        old = world.replace("invocations-1", {"DATABASE_URL": world.proxied_database})
        for _ in range(2):
            world.wait_until("heartbeats", world.all_alive, 180)
            before = proxy.sprung
            proxy.delay('"units"', 2.0)
            world.wait_until("a commit", partial(_sprang, proxy, before), 60)
            world.children["invocations-1"].signal(signal.SIGQUIT)
            struck += 1
            world.sleep(4)
        world.restore(old)
    return f"the answer to an end held back for 2 s, SIGQUIT meanwhile, {struck} times"


@row("F11", "a payload that kills every worker that takes it", settle=240, rate=6)
def poison(world: World) -> str:
    order = client(world).submit(order_for(world.accounts[1], "poison"))
    (id_,) = order.ids
    killed, until = 0, time.monotonic() + 240
    while world.number("select count(*) from queue where id = %s", id_) and time.monotonic() < until:
        if (name := world.holder(id_)) and len(world.log.read().started.get(id_, ())) > killed:
            world.children[name].kill()
            killed += 1
        world.sleep(0.3)
    end = ended(world, order)
    expect((end["error"] or {}).get("code") == "worker_lost" and killed <= 3, f"killed {killed}, then {end}")
    return f"SIGKILL to whoever called for it: {killed} processes, then failed (worker_lost)"


@row("F12", "messages that are none: garbage, a pickle, an unknown task, a megabyte", sends_messages=True)
def poison_messages(world: World) -> str:
    before = {name: world.pid(name) for name in WORKERS}
    box = world.broker_client()
    envelope = (
        '{"body": "%s", "content-encoding": "utf-8", "content-type": "%s", "headers": {"task": "%s", "id": "x"}, '
        '"properties": {"delivery_tag": "t", "delivery_info": {"exchange": "", "routing_key": "invocations"}, '
        '"body_encoding": "base64"}}'
    )
    raw = [
        "not a message",
        '{"body": "bm8=", "headers": {}}',
        envelope % ("gASVBQAAAAAAAACMAWGULg==", "application/x-python-serialize", "invocations.run"),
        envelope % ("W1tdLCB7fSwge31d", "application/json", "os.system"),
        envelope % ("W1siJyBvciAxPTEgLS0iXSwge30sIHt9XQ==", "application/json", "invocations.run"),
        "x" * 1_000_000,
        "\x00\xff",
    ]
    for message in raw * 3:
        box.lpush("invocations", message)
        world.sleep(0.1)
    world.wait_until("the queue to drain", lambda: box.llen("invocations") < 5, 60)
    expect({name: world.pid(name) for name in WORKERS} == before, "a worker process died of a message")
    return f"{len(raw) * 3} raw messages pushed into the queue"


@row("F13", "a thread of a worker hangs where nothing can interrupt it")
def hung_thread(world: World) -> str:
    orders = [client(world).submit(order_for(world.accounts[0], "short"))]
    world.arm("worker.response_read", "sleep:75")
    for _ in range(5):
        orders.append(client(world).submit(order_for(world.accounts[0], "short")))
    for order in orders:
        ended(world, order, 90)
    world.sleep(25)
    return "a thread slept for 75 s after its answer (time limit 3 s, given up at 33 s), its late end fenced out"


@row("F14", "workers restarted every few seconds under load")
def recycled(world: World) -> str:
    for number in range(6):
        name = WORKERS[number % 2]
        world.children[name].signal(signal.SIGTERM)
        world.sleep(5)
    return "SIGTERM to the two workers in turn, 6 times, every 5 s"


@row("F15", "broker killed and started empty with hundreds of calls waiting")
def broker_lost(world: World) -> str:
    asking = client(world)
    for number in range(200):
        asking.submit(order_for(world.accounts[number % len(world.accounts)], "slow"))
    world.restart(world.broker)
    return "200 calls of 1.5 s on top of the load, then SIGKILL to the broker, started again empty"


@row("F16", "broker down for a minute", settle=300)  # what fails opens its breaker: then one in 30 s
def broker_down(world: World) -> str:
    world.broker.kill()
    world.sleep(60)
    answers = dict(world.history.answers)
    world.broker.start()
    world.broker.wait()
    expect(answers.get("submit 202", 0) > 100, f"submits while the broker was away: {answers}")
    return f"broker down for 60 s; {answers.get('submit 202', 0)} submits accepted meanwhile"


@row("F17", "broker frozen, 10 s and 40 s")
def broker_frozen(world: World) -> str:
    for seconds in (10, 40):
        world.freeze(world.broker)
        world.sleep(seconds)
        world.thaw(world.broker)
        world.sleep(5)
    return "SIGSTOP for 10 s and for 40 s"


@row("F18", "every message sent five times over, in disorder, and yesterday's again", sends_messages=True)
def doubled_messages(world: World) -> str:
    sent = 0
    for _ in range(10):
        for order in world.history.orders[-15:]:
            for id_ in order.ids:
                for _ in range(5):
                    messages.app().send_task(messages.RUN_INVOCATION, args=[id_], queue="invocations", retry=False)
                    sent += 1
        world.sleep(1)
    return f"{sent} messages more than were due, most of them for what had ended"


@row("F19", "a worker that is connected to the broker and hears nothing")
def unresponsive(world: World) -> str:
    with world.broker_proxy() as proxy:
        old = world.replace("invocations-1", {"BROKER_URL": world.proxied_broker})
        world.wait_until("heartbeats", world.all_alive, 180)
        world.sleep(5)
        proxy.freeze()
        world.sleep(30)
        proxy.thaw()
        world.down.add("invocations-2")
        world.children["invocations-2"].kill()
        order = client(world).submit(order_for(world.accounts[0], "echo"))
        ended(world, order, 180)
        world.down.discard("invocations-2")
        world.restore(old)
    return "its connection swallowed everything for 30 s; then it alone had to do the work"


@row("F20", "broker and gate out of memory")
def out_of_memory(world: World) -> str:
    for box in (world.broker_client(), world.gate()):
        box.config_set("maxmemory", 1)
        world.sleep(10)
        box.config_set("maxmemory", 0)
    return "maxmemory 1 (noeviction) on the broker for 10 s, then on the gate for 10 s"


def _called(world: World, invocation_id: str) -> bool:
    return bool(world.log.read().started.get(invocation_id))


def _called_or_lost(world: World, invocation_id: str) -> bool:
    """Lost: it was about to be called by a process that was killed for another one."""
    return _called(world, invocation_id) or not world.rows("select from queue where id = %s", invocation_id)


def _is_over(child: Child) -> bool:
    return not child.is_up


def _sprang(proxy: Proxy, before: int) -> bool:
    return proxy.sprung > before


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
