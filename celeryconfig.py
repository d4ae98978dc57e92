"""Celery, as far as it is used here: it carries doorbells, nothing else (docs/architecture.md says why).

The table is the queue. A message is one ring: lost, doubled or late it changes nothing, so it is acknowledged
before it runs (`acks_late` measurably loses or multiplies work when processes die), has no result, and waits in
the broker rather than in a worker.
"""

from kombu import Exchange, Queue

# Each queue has its own exchange and key: with the defaults they would share one, and every bell would ring in all.
# On RabbitMQ they are quorum queues, which outlive the loss of a node; Redis knows no such thing and takes no notice.
task_queues = tuple(
    Queue(name, Exchange(name), routing_key=name, queue_arguments={"x-queue-type": "quorum"})
    for name in ("invocations", "webhooks", "sweeps")
)
task_default_queue = "invocations"
task_create_missing_queues = False

accept_content = ["json"]
task_serializer = "json"
event_serializer = "json"

task_ignore_result = True
result_backend = None
task_acks_late = False
worker_prefetch_multiplier = 1
worker_disable_prefetch = True

# A broker that is silent costs a caller two seconds at most; the committed row is found by the sweep. `socket_…`
# is for Redis, `write_timeout` for RabbitMQ, where common/kit/rabbit.py sees to the rest.
task_publish_retry = False
broker_transport_options = {
    "socket_timeout": 2.0,
    "socket_connect_timeout": 1.0,
    "write_timeout": 2.0,
    "retry_on_timeout": False,
    "health_check_interval": 10,
    "visibility_timeout": 3600,
    "max_retries": 0,
}
broker_connection_timeout = 2.0
broker_connection_retry = True
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_heartbeat = 10

# Flower needs both; the broker itself is what is guarded.
worker_enable_remote_control = True
worker_send_task_events = True
task_send_sent_event = False
task_track_started = False

worker_hijack_root_logger = False
worker_redirect_stdouts = False
worker_cancel_long_running_tasks_on_connection_loss = False
