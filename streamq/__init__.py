"""streamq: a job engine on raw Redis Streams. Importing it brings in redis, msgspec and anyio only."""

from __future__ import annotations

from streamq.admin import Admin
from streamq.broker import Broker, Retention
from streamq.errors import (
    BrokerFull,
    BrokerRefused,
    BrokerUnavailable,
    DeadLetter,
    InvalidJob,
    InvalidPayload,
    LeaseLost,
    NoResult,
    NotConfirmed,
    PayloadTooLarge,
    RetryIn,
    ScheduleNotFound,
    Snooze,
    StreamqError,
    UnknownStream,
)
from streamq.events import Hooks
from streamq.handlers import Handlers
from streamq.job import Job, NewJob, Receipt
from streamq.keys import Lane
from streamq.limits import Limit
from streamq.queue import JobOptions, Queue, SyncQueue
from streamq.recurring import Recurring, RecurringJob, SyncRecurring
from streamq.redis_broker import RedisBroker
from streamq.retry import Retry
from streamq.schedules import Cron, Every
from streamq.supervisor import Supervisor, SupervisorOptions, SupervisorResult
from streamq.worker import Worker, WorkerOptions, WorkerResult

__all__ = [
    "Admin",
    "Broker",
    "BrokerFull",
    "BrokerRefused",
    "BrokerUnavailable",
    "Cron",
    "DeadLetter",
    "Every",
    "Handlers",
    "Hooks",
    "InvalidJob",
    "InvalidPayload",
    "Job",
    "JobOptions",
    "Lane",
    "LeaseLost",
    "Limit",
    "NewJob",
    "NoResult",
    "NotConfirmed",
    "PayloadTooLarge",
    "Queue",
    "Receipt",
    "Recurring",
    "RecurringJob",
    "RedisBroker",
    "Retention",
    "Retry",
    "RetryIn",
    "ScheduleNotFound",
    "Snooze",
    "StreamqError",
    "Supervisor",
    "SupervisorOptions",
    "SupervisorResult",
    "SyncQueue",
    "SyncRecurring",
    "UnknownStream",
    "Worker",
    "WorkerOptions",
    "WorkerResult",
]
