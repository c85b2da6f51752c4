"""Write folders of face images into one .beton file.

Every image becomes a square, upright RGB JPEG of at most --size pixels; a JPEG that is that already keeps its bytes.
What cannot be used is listed with its reason beside the file. The file appears under its name only when it is complete;
after a kill, the same command goes on where it was.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict

from tqdm import tqdm

from frl import console, store
from frl.beton import BetonWriter
from frl.beton.card import leave_card
from frl.beton.shard import Shard
from frl.beton.targets import TargetSpec
from frl.beton.writer import refuse_existing
from frl.errors import SourceError, StoreChanged
from frl.options import parse
from frl.printable import printable, printable_lines
from writers.config import WriteConfig, settings, validate
from writers.curate import Duplicates
from writers.dry_run import DryRun
from writers.flow import prepare_all, start_pool
from writers.inputs import refuse_inputs
from writers.item_list import ItemList, choose
from writers.items import Item, label_identities, name_work
from writers.outlet import Outlet
from writers.sources import (
    Account,
    Flickr,
    Remarking,
    Source,
    Synthetic,
    VGGFace2,
    accounts,
    file_stamps,
    help_on_kinds,
    open_sources,
    versions,
)
from writers.sources.addresses import LAYOUTS
from writers.sources.skipped import total
from writers.stop import Stopped, StopRequest, stop_requests
from writers.summary import Summary, people_in, summary, summary_of
from writers.targets import ask, find_targets
from writers.upload import write_to_store

COMMON = (
    *("--out", "--size", "--detect", "--boxes", "--margin", "--targets", "--dedupe", "--licence", "--seed", "--limit"),
    *("--workers", "--max-rejects", "--overwrite", "--dry-run"),
)
"""The options that the short help shows."""


def say(lines: Sequence[str]) -> None:
    """Tell the user something about the command."""
    for line in lines:
        tqdm.write(printable(line), file=sys.stderr)  # where a bar may be


def write(
    config: WriteConfig,
    stop: StopRequest | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    tell: Callable[[Sequence[str]], None] = say,
) -> Summary:
    """Write the file that ``config`` describes.

    Args:
        config: the options.
        stop: whether to end early, looked at several times a second; None: never.
        progress: told after each image how many are done, and of how many.
        tell: told once, before anything is written, what of the data given is not used, or only in part; in lines.

    Raises:
        Stopped: if it was to end early; what is done is kept, and the same call goes on from there.
        ConfigError: if an option makes no sense, or the file is one of those that are read.
        SourceError: if a source is absent, or no image is found.
        WriteError: if the file exists, a worker fails, or too many images are rejected.
        StoreError: if an object store does not give an image or take the file.
        StoreChanged: if a file there became another while it was read; nothing is kept then.
    """
    stop = stop or StopRequest()
    if not config.dry_run:
        refuse_inputs(config)
    if address := store.address(config.out):
        return write_to_store(config, address, lambda local: write(local, stop, tell=tell))
    validate(config)
    if not config.dry_run:
        refuse_existing(config.out, overwrite=config.overwrite)
    start = time.monotonic()
    if config.on is not None:
        from writers.machines.write import write_on

        return summary_of(write_on(config, stop, tell), config, time.monotonic() - start)
    sources = ask(open_sources(config.sources, config.boxes), config.targets)
    workers = start_pool(sources, config, stop.check)  # what they import, they import while the sources are listed
    chosen = choose(sources, config, stop.check)
    joins = accounts(sources.values())
    tell([*remarks(joins, sources, config), *unsearched(sources, config)])
    labels = label_identities(chosen)  # of all shards, so that they agree
    items = Shard.parse(config.shard).of(chosen)
    if not items:
        raise SourceError(f"shard {config.shard}", f"none of the {len(chosen):,} images is in it", "Use fewer shards.")
    skipped = total(source.store for source in sources.values())
    targets = find_targets(sources)
    kept = settings(config, sources, versions(sources))
    file = open_target(config, kept, items, chosen, labels, joins, targets, file_stamps(sources))
    with file, workers as pool, Duplicates() as duplicates:
        out = Outlet(file=file, duplicates=duplicates, labels=labels, targets=targets, config=config)
        begun = file.done
        if Shard.parse(config.shard).number == 1:  # each of them lists everything, and the counts of all are added up
            out.begin(skipped)
        if file.lost is not None:
            print(f"{printable(config.out)}: of its images, {file.lost}", file=sys.stderr)
        if begun:
            print(f"{printable(config.out)}: going on after the {begun:,} images that are done", file=sys.stderr)
            duplicates.restore(config.curate.dedupe, file.stored())
        results = prepare_all(items[begun:], sources, pool, config.out)
        outcomes = tqdm(results, initial=begun, total=len(items), unit="img", disable=None)
        try:
            for done, (item, faces) in enumerate(outcomes, begun + 1):
                stop.check()
                out.take(item, faces)
                file.commit(done)
                progress(done, len(items))
                if config.samples is not None and file.samples >= config.samples:
                    break
            for version in versions(sources).values():
                version.confirm()
        except Stopped:
            file.keep()
            raise
        except StoreChanged:
            file.forget()
            raise
    if not config.dry_run and file.samples and (complaint := leave_card(config.out)):
        print(printable(complaint), file=sys.stderr)
    return summary(
        file.counts,
        config,
        identities=file.people if isinstance(file, DryRun) else people_in(config.out) if file.samples else 0,
        written=file.samples,
        joins=joins,
        skipped=str(skipped),
        begun=begun,
        nbytes=file.nbytes if isinstance(file, DryRun) else config.out.stat().st_size,
        seconds=time.monotonic() - start,
    )


def remarks(joins: Sequence[Account], sources: Mapping[str, Source], config: WriteConfig) -> Iterator[str]:
    """What of the data given is not used, or only in part."""
    yield from (str(account) for account in joins if not account.complete)
    if config.curate.dedupe != "none" and any(text.partition(":")[0] in LAYOUTS for text in config.sources):
        yield "copies of a benchmark's faces are dropped; --dedupe none keeps all that were published"
    for name, source in sources.items():
        if config.boxes and not isinstance(source, Flickr | Synthetic | VGGFace2):
            yield f"{name}: {config.boxes} is not used for it"
        if isinstance(source, Remarking):
            yield from source.remarks()


def unsearched(sources: Mapping[str, Source], config: WriteConfig) -> Iterator[str]:
    """Which sources may be whole photographs in which no detector looks for faces."""
    names = [name for name, source in sources.items() if isinstance(source, Flickr)]
    if names and config.detect.detect == "none":
        cause = "without --detect, a photograph without annotated faces becomes its central square"
        yield f"{', '.join(sorted(names))}: {cause}"


def open_target(
    config: WriteConfig,
    kept: dict[str, object],
    items: Sequence[Item],
    chosen: ItemList,
    labels: dict[str, int],
    joins: Sequence[Account],
    targets: tuple[TargetSpec, ...],
    stamps: dict[str, tuple[int, int]],
) -> BetonWriter | DryRun:
    """Where the samples go."""
    capacity = len(items) * (1 if config.detect.detect == "none" else config.detect.max_faces)
    if config.dry_run:
        return DryRun(capacity, targets)
    # A file that was changed since holds other images under the same names: then the work is another.
    work = {**kept, "files": stamps} if stamps else kept
    return BetonWriter(
        config.out,
        capacity=capacity,
        labels=list(labels),
        settings=kept,
        overwrite=config.overwrite,
        work=name_work(chosen.rows(), labels, work),  # the settings say which part of them
        joins=[asdict(account) for account in joins],
        targets=targets,
        empty=config.shard is not None,  # the others may have what this one has not
        listed=name_work(chosen.rows(), labels, {}) if config.shard is not None else None,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 0, 1 after an error, 130 after Ctrl-C, 143 after SIGTERM.
    """
    return console.run("frl write", lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    description = f"{__doc__}\nKinds of sources:\n\n{help_on_kinds()}"
    config = parse(
        WriteConfig, arguments, prog="frl write", description=description, common=COMMON, takes="SOURCE [SOURCE ...]"
    )
    try:
        with stop_requests() as stop:
            summary = write(config, stop)
    except Stopped as stopped:
        print(
            f"{printable(store.address(config.out) or config.out)}: {stopped}; the file is not there", file=sys.stderr
        )
        notes = getattr(stopped, "__notes__", ()) or ["No image was done; the same command begins anew."]
        print("\n".join(map(printable, notes)), file=sys.stderr)
        return stopped.status
    print(printable_lines(summary))
    console.suggest(*_next(config))
    return 0


def _next(config: WriteConfig) -> list[tuple[object, ...]]:
    """The commands that usually come next."""
    where, run = store.address(config.out) or config.out, "runs/" + config.out.stem
    if config.shard is not None:
        return [("frl", "merge", "SHARD...", "--out", "FILE")]
    if config.dry_run:
        return [("frl", "write", *config.sources, "--out", where)]
    if where is not config.out:
        staged = ("frl", "pretrain", "--data", where, "--stage", "FOLDER", "--out", run)
        return [("frl", "pull", where), staged]
    return [
        ("frl", "verify", where, "--deep"),
        ("frl", "preview", where),
        ("frl", "pretrain", "--data", where, "--out", run),
    ]


if __name__ == "__main__":
    sys.exit(main())
