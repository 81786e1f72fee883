"""Work on many slices in processes of their own, results in order; no more is held than what is in work."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from multiprocessing import get_context
from typing import TypeVar

from model.errors import ModelFailure

CHUNK = 16  # slices handed to a process at a time
AHEAD = 3  # chunks for each process that may wait for whoever takes the results
FEWEST = 128  # slices; starting processes takes longer than preparing fewer

Item = TypeVar("Item")
Result = TypeVar("Result")


def prepare_many(work: Callable[[Item], Result], items: Sequence[Item], *, workers: int) -> Iterator[Result]:
    """Yield `work(item)` in the order of the items; `work` must be importable by name, without torch.

    One worker, or few items, and no process is started. Raises what `work` raises, and ModelFailure where a
    process ends by itself.
    """
    if workers <= 1 or len(items) < FEWEST:
        yield from map(work, items)
        return
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[list[Result]]] = deque()
        try:
            for chunk in chunks:
                waiting.append(pool.submit(_work_on, work, chunk))
                if len(waiting) >= AHEAD * workers:
                    yield from waiting.popleft().result()
            yield from chain.from_iterable(future.result() for future in waiting)
        except BrokenProcessPool as error:
            raise ModelFailure(
                "a process that prepares slices ended by itself; was the memory used up? Try fewer workers"
            ) from error
        finally:
            for future in waiting:
                future.cancel()


def _work_on(work: Callable[[Item], Result], chunk: Sequence[Item]) -> list[Result]:
    return [work(item) for item in chunk]
