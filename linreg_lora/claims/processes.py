"""Claims on several processes: slowest first, and what shares compiled programs and draws on one of them.

Claims share them that have the same experiment or the same domain. A process without work takes the claim that is
thought to take longest among those that share with what it has run; else among those that share with nothing that was
run anywhere; else among all. Work is thought to be draws times the sizes of the problems: it decides the order only,
and no number depends on it.
"""

import contextlib
import gc
import math
import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from linreg_lora.errors import LinregLoraError
from linreg_lora.sweeps import executors

if TYPE_CHECKING:
    from linreg_lora.claims.schema import Claim

#: Memory maps of a process at which it lets go of its compiled programs, each of which has some eighty, and 5 MB.
#: Linux aborts a process at 65530.
_MOST_MAPS = 5_000


class Outcome(NamedTuple):
    """What became of call `place`: a value, or the error of this package that it ended with."""

    place: int
    value: Any
    error: LinregLoraError | None


def work_of(claim: "Claim") -> float:
    """About how much work the draws of a claim are: their number times that of the entries of its matrices."""
    sizes = claim.domain.dimensions() or [(1,)]
    return float(claim.experiment.trials) * sum(math.prod(size) for size in sizes)


class Waiting:
    """Claims that wait for a process."""

    def __init__(self, claims: "Sequence[Claim]") -> None:
        self._shared = [(claim.experiment.name, claim.domain.model_dump_json()) for claim in claims]
        self._left = sorted(range(len(claims)), key=lambda i: -work_of(claims[i]))
        self._takers: dict[str, set[int]] = {}

    def __len__(self) -> int:
        return len(self._left)

    def take(self, process: int) -> int:
        """The place of the claim that this process does next."""

        def preference(place: int) -> int:
            takers = set().union(*(self._takers.get(what, ()) for what in self._shared[place]))
            return 0 if process in takers else 2 if takers else 1

        place = min(self._left, key=preference)
        self._left.remove(place)
        for what in self._shared[place]:
            self._takers.setdefault(what, set()).add(process)
        return place


def on_processes(
    claims: "Sequence[Claim]", calls: Sequence[tuple[Callable[..., Any], tuple]], processes: int
) -> Generator[Outcome]:
    """What the calls, one a claim, come to, as they end.

    One whose process dies runs again, three times at most. Raises `LinregLoraError` where processes do not start, and
    what a call raises that is no error of this package; the processes end at once then, as they do on Ctrl-C.
    """
    waiting = Waiting(claims)
    with contextlib.ExitStack() as stack:
        free = {i: stack.enter_context(executors.local_processes(1)) for i in range(processes)}
        running: dict[Future, tuple[int, int, Any]] = {}
        while waiting or running:
            for process in list(free) if waiting else []:
                if waiting:
                    place, executor = waiting.take(process), free.pop(process)
                    function, arguments = calls[place]
                    running[executor.submit(function, *arguments)] = place, process, executor
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                place, process, free[process] = running.pop(future)
                try:
                    yield Outcome(place, future.result(), None)
                except BrokenExecutor as error:
                    raise LinregLoraError(f"workers: {error}") from None
                except LinregLoraError as error:
                    yield Outcome(place, None, error)


def release_memory() -> None:
    """Let go of compiled programs where they are many, and of freed memory that the allocator holds back.

    What is still needed is loaded again from the cache. Nothing where the system knows neither.
    """
    with contextlib.suppress(OSError):
        if "jax" in sys.modules and Path("/proc/self/maps").read_bytes().count(b"\n") > _MOST_MAPS:
            import jax

            from linreg_lora.simulation import lowered

            lowered.forget()
            jax.clear_caches()
            gc.collect()
    with contextlib.suppress(OSError, AttributeError, TypeError):
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)
