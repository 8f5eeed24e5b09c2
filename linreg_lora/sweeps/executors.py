"""Where cells run: processes of this machine, or a dask cluster. Both are `concurrent.futures` executors.

A call that raises fails alone. `BrokenExecutor` means that nothing more can run. Neither schedules anything itself.
"""

import contextlib
import functools
import gc
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from linreg_lora import runtime, validation
from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.provenance import versions

#: A call that loses this many workers fails: it is the likely cause.
_LIVES = 3
_READY = b"ready"
_SECONDS_TO_CONNECT = 10
_SECONDS_FOR_A_WORKER = 60
_START_ADVICE = "a script that starts processes guards its own work with `if __name__ == '__main__'`"


class LocalProcesses(Executor):
    """`workers` processes of one BLAS thread each, started when first needed and replaced when they die.

    A call whose worker dies runs again on a new one; after the third death it fails with `LinregLoraError`. Raises
    `BrokenExecutor` where processes do not even start, `InvalidInput` for a bad number of workers.

    >>> import linreg_lora as ll
    >>> executor = ll.sweeps.LocalProcesses(1)
    >>> executor.submit(abs, -3).result()
    3
    >>> executor.shutdown()
    """

    def __init__(self, workers: int):
        workers = validation.positive_integer("workers", workers)
        self._threads = ThreadPoolExecutor(workers)
        self._idle: SimpleQueue[_Worker | None] = SimpleQueue()
        for _ in range(workers):
            self._idle.put(None)
        self._workers: set[_Worker] = set()
        self._closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Schedule fn(*args, **kwargs) on the next free worker."""
        return self._threads.submit(self._run, (fn, args, kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Finish what was submitted, or with `cancel_futures` only what is running, and end the workers."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            for worker in list(self._workers):
                self._remove(worker)

    def kill(self) -> None:
        """End the workers now, whatever they are doing."""
        self._closed = True
        for worker in list(self._workers):
            worker.process.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _run(self, call: tuple) -> Any:
        worker, deaths = self._idle.get(), 0
        try:
            while deaths < _LIVES:
                worker = worker or self._started()
                try:
                    return worker.run(call)
                except _Died:
                    self._remove(worker)
                    worker, deaths = None, deaths + 1
            raise LinregLoraError(f"its worker died {deaths} times (out of memory, or killed)")
        finally:
            self._idle.put(worker)

    def _started(self) -> "_Worker":
        for _ in range(_LIVES):
            if self._closed:
                raise BrokenExecutor("it is closed")
            worker = _Worker()
            self._workers.add(worker)
            if self._closed:
                worker.process.kill()
            if worker.is_ready():
                return worker
            self._remove(worker)
        raise BrokenExecutor(f"worker processes do not start; {_START_ADVICE}")

    def _remove(self, worker: "_Worker") -> None:
        self._workers.discard(worker)
        worker.end()


class _Died(Exception):
    """The process at the other end of the pipe is gone."""


class _Worker:
    """One process, and the pipe through which it gets calls and returns answers, one at a time.

    Not a `ProcessPoolExecutor`: its queues and locks do not always survive a process that is killed.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, its = context.Pipe()
        self.process = context.Process(target=_serve, args=(its,), daemon=True)
        with _interrupts_blocked():
            self.process.start()
        its.close()

    def is_ready(self) -> bool:
        """Wait until the process can take a call; False if it ends before."""
        try:
            return self._pipe.recv_bytes() == _READY
        except (EOFError, OSError):
            return False

    def run(self, call: tuple) -> Any:
        """The value or the exception of a call. Raises `_Died` if the process ends before it answers."""
        message = pickle.dumps(call)
        try:
            self._pipe.send_bytes(message)
            answer = self._pipe.recv_bytes()
        except (EOFError, OSError):
            raise _Died from None
        value, error = pickle.loads(answer)
        if error is not None:
            raise error
        return value

    def end(self) -> None:
        """Close the pipe, which ends an idle process, and wait for that."""
        self._pipe.close()
        self.process.join()


@contextlib.contextmanager
def local_processes(workers: int) -> Iterator[LocalProcesses]:
    """An executor of freshly started processes, one BLAS thread each; they end at once when the block raises.

    As with any `multiprocessing` start by spawn, a script that uses it guards its own work with
    `if __name__ == "__main__"`.

    >>> import linreg_lora as ll
    >>> with ll.local_processes(2) as executor:
    ...     executor.submit(abs, -3).result()
    3
    """
    executor = LocalProcesses(workers)
    try:
        yield executor
    except BaseException:
        executor.kill()
        raise
    finally:
        executor.shutdown()


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def cluster(address: str) -> Iterator["Cluster"]:
    """An executor on the dask scheduler at `address`, as in tcp://host:8786.

    Needs the extra `cluster`. Raises `InvalidInput` where no scheduler answers or it has no worker.

    >>> import linreg_lora as ll
    >>> try:
    ...     with ll.sweeps.cluster("nowhere") as executor:
    ...         executor.submit(abs, -3)
    ... except ll.InvalidInput as error:
    ...     print(f"{error.field}: expected {error.expected}, received {error.received}")
    scheduler: expected the address of a dask scheduler, received nowhere
    """
    try:
        from distributed import Client
    except ImportError:
        raise InvalidInput("scheduler", "dask.distributed installed", address, "install linreg-lora[cluster]") from None
    client, refusal = None, ""
    try:
        client = Client(address, timeout=_SECONDS_TO_CONNECT, set_as_default=False)
    except Exception as error:  # an address can be wrong in many ways
        refusal = _one_line(error)
    if client is None:
        gc.collect()  # collected at another moment, the half-made client can deadlock the making of the next one
        raise InvalidInput("scheduler", "the address of a dask scheduler", address, refusal)
    try:
        try:
            client.wait_for_workers(1, timeout=_SECONDS_FOR_A_WORKER)
        except TimeoutError:
            raise InvalidInput("scheduler", "a scheduler with a worker", address, "start one: dask worker") from None
        yield Cluster(client)
    finally:
        with contextlib.suppress(Exception):
            client.close(timeout=2)


class Cluster(Executor):
    """A dask client as an executor: dask runs the calls of a dead worker again, four deaths fail the call.

    Workers must have the versions of this process (`provenance.versions`); a call on another one raises
    `BrokenExecutor`.
    """

    def __init__(self, client: Any):
        self._client = client
        self._sent: set[Any] = set()
        #: Calls to have submitted at a time: enough for every thread of the cluster, and for those to come.
        self.in_flight = max(64, 4 * sum(client.nthreads().values()))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Send fn(*args, **kwargs) to the cluster. Raises `BrokenExecutor` when the scheduler is gone."""
        try:
            sent = self._client.submit(_on_cluster, versions(), fn, args, kwargs, pure=False)
        except Exception as error:
            raise _lost(error) from None
        # Not the client's own executor: its futures never finish if the scheduler dies while it fetches a result.
        received: Future = Future()
        self._sent.add(sent)
        received.add_done_callback(lambda ours: sent.cancel() if ours.cancelled() else None)
        sent.add_done_callback(functools.partial(self._receive, received))
        return received

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for what was submitted, or cancel it."""
        left = list(self._sent)
        with contextlib.suppress(Exception):
            if cancel_futures:
                self._client.cancel(left)
            elif wait:
                for sent in left:
                    sent.exception()

    def _receive(self, received: Future, sent: Any) -> None:
        self._sent.discard(sent)
        if not received.set_running_or_notify_cancel():
            return
        try:
            if sent.status == "error":
                received.set_exception(sent.exception())
            else:
                received.set_result(sent.result())
        except BaseException as error:  # cancelled by the client because the connection is lost, or lost just now
            received.set_exception(_lost(error))


def _on_cluster(expected: tuple[str, ...], fn: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
    for ours, its in zip(expected, versions(), strict=True):
        if ours != its:
            raise BrokenExecutor(f"a worker has {its}, expected {ours}: install the same versions everywhere")
    return fn(*args, **kwargs)


def _serve(pipe: Connection) -> None:
    """What a worker process does: answer calls until the pipe closes, and end."""
    runtime.configure()
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    pipe.send_bytes(_READY)
    while True:
        try:
            message = pipe.recv_bytes()
        except (EOFError, OSError):
            runtime.end_process(0)
        try:
            fn, args, kwargs = pickle.loads(message)
            answer = pickle.dumps((fn(*args, **kwargs), None))
        except Exception as error:
            answer = pickle.dumps((None, _portable(error)))
        pipe.send_bytes(answer)


def _portable(error: Exception) -> Exception:
    """The error, or its text where the error itself cannot cross to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {_one_line(error)}")
    return error


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes started here inherit the mask: Ctrl-C is for the parent, which then ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # on its own first start it would clear the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _lost(error: BaseException) -> BrokenExecutor:
    reason = "the connection is lost" if isinstance(error, CancelledError) else _one_line(error)
    return BrokenExecutor(f"the scheduler does not answer: {reason}")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
