"""Let the workers prepare the items of all sources, and bring the samples into the order of the file."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import tee
from pathlib import Path

import numpy as np
from tqdm import tqdm

from frl.errors import SourceError
from frl.printable import printable
from writers.config import WriteConfig, crop_spec
from writers.image.crop import Face
from writers.items import Item
from writers.prepare import Preparation
from writers.reject import Reject
from writers.sources import Source, Stream
from writers.spool import Spool
from writers.targets import find_targets
from writers.workers import CHUNK, WorkerPool

Outcome = list[Face | Reject]
"""What became of an item: one entry for each face found on it, or one for the whole."""

QUICK_TASKS = 64
"""Sent at a time at most, where no detector looks for faces: of images that pass through, a tenth of a millisecond
each."""

TASK_BYTES = 1 << 16
"""A task that carries more data than this counts as several."""


def start_pool(
    sources: Mapping[str, Source], config: WriteConfig, check: Callable[[], None] = lambda: None
) -> WorkerPool[Item, Outcome]:
    """The pool for ``prepare_all``; ``check`` may stop it. Raises like ``find_targets``."""
    stores = {name: source.store for name, source in sources.items() if not isinstance(source.store, Stream)}
    return WorkerPool(
        Preparation(
            stores=stores,
            spec=crop_spec(config),
            detect=config.detect,
            curate=config.curate,
            targets=find_targets(sources),
        ),
        count=config.workers,
        name=lambda item: item.name,
        weight=lambda item: max(1, len(item.data) / TASK_BYTES) if item.data else 1,
        most=QUICK_TASKS if config.detect.detect == "none" else CHUNK,
        check=check,
    )


def prepare_all(
    items: Sequence[Item], sources: Mapping[str, Source], pool: WorkerPool[Item, Outcome], target: Path
) -> Iterator[tuple[Item, Outcome]]:
    """Each item, in their order, and what became of it.

    Streams are read first, once, and their samples put aside beside the target: a sample is smaller than its image.

    Raises:
        SourceError: if a stream is not what it was when it was listed.
        WriteError: if a worker fails, or the disk takes no more.
    """
    streams = {name: source.store for name, source in sources.items() if isinstance(source.store, Stream)}
    if not streams:
        given, kept = tee(items)  # read from the disk once
        yield from zip(kept, pool.map(given, len(items)), strict=True)
        return
    where = f"in nameless files in {target.absolute().parent}, which vanish with this command"
    print(printable(f"{', '.join(streams)}: read once; the samples are put aside {where}"), file=sys.stderr)
    with Spool(len(items), target) as spool:
        for name, stream in streams.items():
            _put_aside(items, name, stream, pool, spool)
        others = pool.map((item for item in items if not _is_streamed(item, streams)), len(items))
        for rank, item in enumerate(items):
            yield item, spool.take(rank) if _is_streamed(item, streams) else next(others)


def _is_streamed(item: Item, streams: Mapping[str, Stream]) -> bool:
    return item.source in streams and not item.candidate.fault


def _put_aside(items: Sequence[Item], name: str, stream: Stream, pool: WorkerPool[Item, Outcome], spool: Spool) -> None:
    """Prepare all items of a stream in its own order."""
    places = np.fromiter(
        ((*item.candidate.place[:2], rank) for rank, item in enumerate(items) if _is_streamed(item, {name: stream})),
        dtype=[("tar", np.uint32), ("offset", np.uint64), ("rank", np.int64)],
    )
    ranks = places["rank"][np.lexsort((places["offset"], places["tar"]))]
    underway: deque[int] = deque()

    def arriving() -> Iterator[Item]:
        for rank, item in zip(ranks.tolist(), _match(stream, map(items.__getitem__, ranks.tolist())), strict=True):
            underway.append(rank)
            yield item

    for outcome in tqdm(
        pool.map(arriving(), len(ranks)), total=len(ranks), unit="img", desc=f"reading {printable(name)}", disable=None
    ):
        spool.put(underway.popleft(), outcome)


def _match(stream: Stream, items: Iterable[Item]) -> Iterator[Item]:
    """Give items, which are sorted by place, their bytes. Several faces of a photograph have one place."""
    contents = stream.contents()
    place, data = None, b""
    for item in items:
        while place is None or place < item.candidate.place:
            place, data = next(contents, (None, b""))
            if place is None:
                break
        if place != item.candidate.place:
            remedy = "Leave the archive alone while it is read, and run the command again."
            raise SourceError(item.name, "is no longer where it was", remedy)
        yield item._replace(data=data)
