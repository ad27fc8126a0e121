"""Several worker processes under one parent: a fresh interpreter each, replaced when it dies.

    async def main() -> int:
        return (await Supervisor([sys.executable, "worker.py"], processes=4).run()).exit_code

What a process is to do stands in its command line, so anything that runs a `Worker` until TERM can
be one: a script, a module, a program in a container. The parent runs no job and holds no lease.

With a broker it also renews the leases of a child whose handler holds the interpreter's lock, and
enforces hard limits there (`streamq.vouching`).
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import anyio
import anyio.abc
import msgspec

from streamq.broker import Broker
from streamq.errors import InvalidJob
from streamq.parent import child_environment
from streamq.vouching import Watch

log = logging.getLogger("streamq.supervisor")

#: The exit code by which a worker says that jobs were handed back unfinished.
HANDED_BACK: Final = 8
#: Seconds from "hand back now" to SIGKILL.
GRACE: Final = 15.0
#: Seconds between two tellings of TSTP to processes that may not listen yet.
TELL_AGAIN: Final = 2.0
#: The exit code of a command that could not be started, as shells tell it.
NOT_STARTED: Final = 127
#: Added to a signal's number where a process was ended by it, as shells do.
SIGNALLED: Final = 128

#: Runs in the child before its command, and becomes it. A guard stays with it, as its child: when the
#: parent is gone, however it went, its end of the pipe on fd 0 closes, and the guard sends TERM, and KILL
#: when the time to stop is over. Not PR_SET_PDEATHSIG alone: that comes once for each thread of a parent
#: that is killed, and the second TERM means "hand back now". TSTP and USR1 would stop and end a worker
#: that does not listen yet. Not a `preexec_fn`: Python between fork and exec may deadlock where threads run.
_LAUNCH: Final = """
import ctypes, os, select, signal, sys, time
patience, argv = float(sys.argv[1]), sys.argv[2:]
worker, linux = os.getpid(), sys.platform == "linux"
if os.fork() == 0:
    def tell(number):
        if os.getppid() != worker:
            os._exit(0)
        os.kill(worker, number)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if linux:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: it ends with its worker
    while os.getppid() == worker and not select.select([0], [], [], None if linux else 1.0)[0]:
        pass
    tell(signal.SIGTERM)
    time.sleep(patience)
    tell(signal.SIGKILL)
    os._exit(0)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
signal.signal(signal.SIGTSTP, signal.SIG_IGN)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
try:
    os.execvp(argv[0], argv)
except OSError as error:
    sys.exit(f"{argv[0]}: {error.strerror}")
"""

#: The command line of process number n (from 0), or one for all.
Command = Sequence[str] | Callable[[int], Sequence[str]]


class SupervisorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a supervisor behaves; seconds throughout."""

    #: A process that exits 0 has done its part and is not replaced.
    burst: bool = False
    #: A process that lived this long had started well; one that did not died young. Longer than a start
    #: may take that fails in the end (a Redis that does not answer).
    young: float = 30.0
    #: Before a replacement: the first wait, doubled for every young death in a row, and the longest.
    backoff: tuple[float, float] = (0.1, 30.0)
    #: Young deaths of one process in a row after which the supervisor gives up.
    young_deaths: int = 10
    #: After a stop, what still lives is killed after this; above the drain timeout of the workers.
    stop_timeout: float = 60.0

    def __post_init__(self) -> None:
        if self.young_deaths < 1 or not 0 < self.backoff[0] <= self.backoff[1]:
            raise InvalidJob("young_deaths must be at least 1, backoff rise from above 0")


class SupervisorResult(msgspec.Struct, frozen=True):
    """How a run ended."""

    #: 0: all ended in order; 8: jobs were handed back; else the first failure's.
    exit_code: int
    #: Why the supervisor gave up, for people; empty where it was asked to stop.
    failure: str = ""


# --- decisions ------------------------------------------------------------------------------------


class Life(msgspec.Struct, frozen=True):
    """How long a process lived, and how it ended."""

    #: Seconds.
    lived: float
    #: As the system tells it: below 0 the number of the signal that ended it.
    returncode: int

    @property
    def exit_code(self) -> int:
        """As shells tell it."""
        return self.returncode if self.returncode >= 0 else SIGNALLED - self.returncode

    @property
    def words(self) -> str:
        """How it ended, for people."""
        if self.returncode >= 0:
            return f"ended with exit code {self.returncode}"
        try:
            return f"was ended by {signal.Signals(-self.returncode).name}"
        except ValueError:
            return f"was ended by signal {-self.returncode}"


class Replace(msgspec.Struct, frozen=True):
    """Start another one after `delay` seconds."""

    delay: float


class Finished(msgspec.Struct, frozen=True):
    """It has done its part."""


class GiveUp(msgspec.Struct, frozen=True):
    """Another one would fare no better: end the others, and say why."""

    why: str


def next_step(
    life: Life, young_deaths: int, *, settled: bool, options: SupervisorOptions
) -> Replace | Finished | GiveUp:
    """What a death nobody asked for leads to.

    `young_deaths`: deaths of this process in a row before it had lived long, this one included.
    `settled`: some process of the family has started well, so the command as such is good.
    """
    if options.burst and life.returncode == 0:
        return Finished()
    if not young_deaths:
        return Replace(options.backoff[0])
    if not settled and life.returncode > 0:
        # It said no itself (settings, Redis, schema) before any of the family worked: so will the next.
        return GiveUp(f"{life.words} soon after its start")
    if young_deaths >= options.young_deaths:
        return GiveUp(f"{life.words}, dead {young_deaths} times in a row soon after its start")
    first, longest = options.backoff
    return Replace(min(longest, first * 2.0 ** min(young_deaths - 1, 64)))


def family_code(lives: Sequence[Life]) -> int:
    """One exit code for all: 8 where one handed jobs back, else the first failure's, else 0.

    `lives`: those that ended after the stop. One ended by the stop's own signal had not begun to work
    or had nothing left to do: a worker listens as long as it may hold a job.
    """
    codes = [life.exit_code for life in lives if -life.returncode not in (0, signal.SIGTERM, signal.SIGINT)]
    return HANDED_BACK if HANDED_BACK in codes else next(iter(codes), 0)


# --- acts -----------------------------------------------------------------------------------------


class Process:
    """One place in the family: a process, and after it its replacements."""

    def __init__(self, number: int) -> None:
        self.number = number
        #: Of the process that runs now.
        self.pid: int | None = None
        #: Monotonic seconds of its start.
        self.born = 0.0
        #: Ended soon after their start, in a row.
        self.young_deaths = 0
        #: It ended, or is about to, so that a fresh one goes on.
        self.recycling = False

    def __repr__(self) -> str:
        return f"<Process {self.number} {f'pid {self.pid}' if self.pid else 'not running'}>"

    def send(self, number: signal.Signals) -> None:
        """A signal, where a process runs."""
        if self.pid is not None:
            # Not by asyncio's Process: it looks whether the child is dead, and then its own waiter cannot.
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                log.debug("process_gone", extra={"number": self.number, "pid": self.pid})


class Supervisor:
    """Keeps N processes running until it is stopped, their bursts are over, or they cannot start."""

    def __init__(
        self,
        command: Command,
        *,
        processes: int,
        env: Mapping[str, str] | None = None,
        options: SupervisorOptions = SupervisorOptions(),  # noqa: B008 - frozen
        broker: Broker | None = None,
    ) -> None:
        """`command`: a command line, or a function that makes that of process n, from 0 (a name of its
        own, a port of its own). The same n is given to its replacements: a worker that gets a name made
        of n takes its predecessor's jobs back at once.

        `env`: the environment of the processes; None: this one's. `broker`: theirs, by which their leases
        are renewed while a handler holds the interpreter's lock; None: nobody does that. Raises InvalidJob.
        """
        if processes < 1:
            raise InvalidJob(f"processes={processes} must be at least 1")
        self._command = command
        self._env = env
        self._broker = broker
        self._options = options
        self.processes = [Process(number) for number in range(processes)]
        self._stop = anyio.Event()
        self._stop_now = anyio.Event()
        self._quiet = anyio.Event()
        #: Some process has started well.
        self._settled = False
        #: Lives that ended in the stop, or were over by themselves.
        self._ended: list[Life] = []
        self._gave_up: SupervisorResult | None = None
        #: End of a pipe that closes with this process.
        self._lifeline = subprocess.DEVNULL

    def __repr__(self) -> str:
        running = sum(process.pid is not None for process in self.processes)
        return f"<Supervisor {running} of {len(self.processes)} processes running>"

    def stop(self) -> None:
        """Once: every process drains. Twice: every process hands back now."""
        if not self._stop.is_set():
            self._stop.set()
            self._send(signal.SIGTERM)  # ends one that does not listen yet, without a word
        else:
            self._stop_now.set()
            self._send(signal.SIGINT)  # a second TERM soon after the first would be one with it

    def quiet(self) -> None:
        """Every process takes no more and goes on with what it has; none is replaced."""
        self._quiet.set()
        self._send(signal.SIGTSTP)

    async def run(self, *, handle_signals: bool = True) -> SupervisorResult:
        """Until stopped (TERM or INT, or `stop`), all bursts are over, or the processes cannot start.

        Signals are passed on: the first TERM or INT as TERM, the second as INT, TSTP (quiet), USR1
        (stacks). Cancelled, it ends the processes before it goes. Should this process be killed, they
        end too: as by a TERM, so they drain, and after `stop_timeout` for good.
        """
        with _lifeline() as self._lifeline:
            return await self._run(handle_signals=handle_signals)

    async def _run(self, *, handle_signals: bool) -> SupervisorResult:
        async with anyio.create_task_group() as background:
            if handle_signals:
                await background.start(self._listen)
            background.start_soon(self._enforce_stop)
            background.start_soon(self._enforce_quiet)
            async with anyio.create_task_group() as keeping:
                for process in self.processes:
                    keeping.start_soon(self._keep, process, name=f"process {process.number}")
            background.cancel_scope.cancel()
        return self._gave_up or SupervisorResult(family_code(self._ended))

    async def _keep(self, process: Process) -> None:
        """One place in the family, life after life."""
        while not self._stop.is_set():
            life = await self._live(process)
            if self._stop.is_set():
                self._ended.append(life)
                return
            recycled = process.recycling and life.returncode in (0, HANDED_BACK)
            young = life.lived < self._options.young and not recycled
            process.young_deaths = process.young_deaths + 1 if young else 0
            step: Replace | Finished | GiveUp = Replace(0.0)
            if not recycled:
                step = next_step(life, process.young_deaths, settled=self._settled, options=self._options)
            match step:
                case Replace():
                    _tell_death(process, life, step.delay)
                    with anyio.move_on_after(math.inf if self._quiet.is_set() else step.delay):
                        await self._stop.wait()
                case Finished():
                    self._ended.append(life)
                    return
                case GiveUp():
                    _tell_death(process, life, None)
                    self._give_up(process, life, step.why)

    async def _live(self, process: Process) -> Life:
        """One process from its start to its end."""
        process.born = time.monotonic()
        process.recycling = False
        ear, mouth = os.pipe()
        try:
            with anyio.CancelScope(shield=True):  # half-started, nobody would end it
                child = await self._launch(process.number, mouth)
        except OSError as error:
            log.error("process_not_started", extra={"number": process.number, "error": str(error)})  # noqa: TRY400 - the system is short of something; a traceback says no more
            os.close(ear)
            return Life(0.0, NOT_STARTED)
        finally:
            os.close(mouth)
        process.pid = child.pid
        log.info("process_started", extra={"number": process.number, "pid": child.pid})
        if self._stop.is_set():  # asked while it was being made
            process.send(signal.SIGTERM)
        watch = Watch(child.pid, ear, self._broker, lambda: process.send(signal.SIGKILL))
        try:
            async with watch.kept():
                with anyio.move_on_after(self._options.young):
                    await child.wait()
                self._settled = self._settled or child.returncode is None
                returncode = await child.wait()
            # A worker that has reported had reached its broker: what ended it was not its start.
            self._settled = self._settled or watch.report is not None
            process.recycling = watch.recycling
        except BaseException:
            await self._end(process, child)
            raise
        finally:
            process.pid = None
        return Life(time.monotonic() - process.born, returncode)

    async def _launch(self, number: int, mouth: int) -> anyio.abc.Process:
        """`mouth`: where it tells how it is."""
        command = self._command(number) if callable(self._command) else self._command
        return await anyio.open_process(
            [sys.executable, "-I", "-S", "-c", _LAUNCH, str(self._options.stop_timeout), *command],
            stdin=self._lifeline,
            stdout=None,  # ours: what a process has to say is for those who read us
            stderr=None,
            env=child_environment(self._env, mouth),
            pass_fds=(mouth,),
            # Ctrl-C in a terminal is for us, who pass it on once; else it would come twice.
            start_new_session=True,
        )

    async def _end(self, process: Process, child: anyio.abc.Process) -> None:
        """We are cancelled: nobody supervises it any longer."""
        with anyio.CancelScope(shield=True):
            process.send(signal.SIGTERM)
            with anyio.move_on_after(self._options.stop_timeout):
                await child.wait()
            if child.returncode is None:
                process.send(signal.SIGKILL)
                await child.wait()

    def _give_up(self, process: Process, life: Life, why: str) -> None:
        if self._gave_up is None:
            self._gave_up = SupervisorResult(life.exit_code or 1, f"process {process.number} {why}")
        if not self._stop.is_set():
            self.stop()

    async def _enforce_stop(self) -> None:
        """Every wait has an end: what ignores a stop is killed, and its jobs are taken as a dead worker's."""
        await self._stop.wait()
        with anyio.move_on_after(self._options.stop_timeout) as patience:
            await self._stop_now.wait()
        if not patience.cancelled_caught:
            await anyio.sleep(min(GRACE, self._options.stop_timeout))
        for process in self.processes:
            if process.pid is not None:
                log.error("process_killed", extra={"number": process.number, "pid": process.pid})
                process.send(signal.SIGKILL)

    async def _enforce_quiet(self) -> None:
        """Tell those again that were starting, and did not listen yet when it was said."""
        await self._quiet.wait()
        until = time.monotonic() + self._options.young
        newcomers = [one for one in self.processes if one.born + self._options.young > time.monotonic()]
        while newcomers and time.monotonic() < until:
            await anyio.sleep(TELL_AGAIN)
            for process in newcomers:
                process.send(signal.SIGTSTP)

    async def _listen(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """TERM, INT: drain; twice: hand back now. TSTP: quiet. USR1: stacks to the log."""
        wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGTSTP, signal.SIGUSR1)
        with anyio.open_signal_receiver(*wanted) as signals:
            task_status.started()
            async for received in signals:
                match received:
                    case signal.SIGTSTP:
                        self.quiet()
                        log.info("processes_quiet")
                    case signal.SIGUSR1:
                        log.warning("supervisor_processes %s", " ".join(map(repr, self.processes)))
                        self._send(signal.SIGUSR1)
                    case _:
                        log.info("processes_stopping", extra={"again": self._stop.is_set()})
                        self.stop()

    def _send(self, number: signal.Signals) -> None:
        for process in self.processes:
            process.send(number)


@contextlib.contextmanager
def _lifeline() -> Iterator[int]:
    """The reading end of a pipe whose other end nobody but this process has."""
    reader, writer = os.pipe()
    try:
        yield reader
    finally:
        os.close(reader)
        os.close(writer)


def _tell_death(process: Process, life: Life, delay: float | None) -> None:
    extra = {
        "number": process.number,
        "how": life.words,
        "lived_seconds": round(life.lived, 1),
        "replaced_in_seconds": delay,
    }
    log.warning("process_died", extra=extra)
