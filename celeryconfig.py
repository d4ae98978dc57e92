"""Celery configuration. Celery only carries notifications that there is work (see docs/architecture.md).

The table is the queue. A lost, duplicated or late message changes nothing, so messages are acknowledged before the task
runs (`acks_late` measurably loses or multiplies work when processes die), have no result, and wait in the broker rather
than in a worker.
"""

from kombu import Exchange, Queue

# Each queue has its own exchange and routing key: with the defaults they would share one, and every message would be
# delivered to all queues. On RabbitMQ they are quorum queues, which survive the loss of a node; Redis ignores that.
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

# An unresponsive broker costs a caller two seconds at most, and the sweep finds the committed row. `socket_…` applies
# to Redis, `write_timeout` to RabbitMQ, where common/kit/rabbit.py has the other limits.
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

# Both needed by Flower; access control is that of the broker.
worker_enable_remote_control = True
worker_send_task_events = True
task_send_sent_event = False
task_track_started = False

worker_hijack_root_logger = False
worker_redirect_stdouts = False
worker_cancel_long_running_tasks_on_connection_loss = False
