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
from frl.beton.manifest import Manifest
from frl.beton.shard import Shard
from frl.beton.targets import TargetSpec
from frl.beton.writer import refuse_existing
from frl.errors import SourceError, WriteError
from frl.options import parse
from frl.printable import printable, printable_lines
from writers.config import WriteConfig, settings, validate
from writers.curate import Duplicates
from writers.dry_run import DryRun
from writers.flow import Outcome, prepare_all, start_pool
from writers.image.crop import Face
from writers.item_list import ItemList, choose
from writers.items import Item, label_identities, name_work
from writers.reject import Reason, Reject
from writers.sources import (
    Account,
    Flickr,
    Remarking,
    Source,
    Synthetic,
    VGGFace2,
    accounts,
    help_on_kinds,
    open_sources,
)
from writers.sources.addresses import LAYOUTS
from writers.sources.skipped import total
from writers.stop import Stopped, StopRequest, stop_requests
from writers.summary import Summary
from writers.targets import ask, find_targets
from writers.upload import write_to_store

COMMON = (
    *("--out", "--size", "--detect", "--boxes", "--margin", "--targets", "--dedupe", "--licence", "--seed", "--limit"),
    *("--workers", "--max-rejects", "--overwrite", "--dry-run"),
)
"""The options that the short help shows."""

CENTRAL = "central squares of photographs"
"""What is counted where nobody knows or looks for the faces."""

FOUND = "faces found"
"""What is counted where a detector finds a face."""

UNKNOWN = "of nobody known"
"""What is counted where an image has no identity."""

OVER_BORDER = "boxes over the border"
"""What is counted where a box reaches over its image's border, so that its square was moved or shrunk."""


def write(
    config: WriteConfig,
    stop: StopRequest | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Write the file that ``config`` describes.

    Args:
        config: the options.
        stop: whether to end early, looked at several times a second; None: never.
        progress: told after each image how many are done, and of how many.

    Raises:
        Stopped: if it was to end early; what is done is kept, and the same call goes on from there.
        ConfigError: if an option makes no sense.
        SourceError: if a source is absent, or no image is found.
        WriteError: if the file exists, a worker fails, or too many images are rejected.
        StoreError: if an object store does not give an image or take the file.
    """
    stop = stop or StopRequest()
    if address := store.address(config.out):
        return write_to_store(config, address, lambda local: write(local, stop))
    validate(config)
    if not config.dry_run:
        refuse_existing(config.out, overwrite=config.overwrite)
    start = time.monotonic()
    if config.on is not None:
        from writers.machines.write import write_on

        return summary_of(write_on(config, stop), config, time.monotonic() - start)
    sources = ask(open_sources(config.sources, config.boxes), config.targets)
    workers = start_pool(sources, config, stop.check)  # what they import, they import while the sources are listed
    chosen = choose(sources, config, stop.check)
    joins = accounts(sources.values())
    report(joins, sources, config)
    labels = label_identities(chosen)  # of all shards, so that they agree
    items = Shard.parse(config.shard).of(chosen)
    warn_of_unsearched(sources, config)
    if not items:
        raise SourceError(
            f"--shard {config.shard}", f"none of the {len(chosen):,} images is in it", "Use fewer shards."
        )
    skipped = total(source.store for source in sources.values())
    file = open_target(config, settings(config, sources), items, chosen, labels, joins, find_targets(sources))
    with file, workers as pool, Duplicates() as duplicates:
        begun, searched = file.done, config.detect.detect != "none"
        if Shard.parse(config.shard).number == 1:  # each of them lists everything, and the counts of all are added up
            for reason, count in skipped.counts().items():
                file.counts[f"skipped: {reason}"] = count
        file.counts["boxes"] += 0  # told of in the manifest also where there is none
        if begun:
            print(f"{printable(config.out)}: going on after the {begun:,} images that are done", file=sys.stderr)
            duplicates.restore(config.curate.dedupe, file.stored())
        rest = items[begun:]
        results = prepare_all(rest, sources, pool, config.out)
        outcomes = tqdm(results, initial=begun, total=len(items), unit="img", disable=None)
        try:
            for done, (item, faces) in enumerate(outcomes, begun + 1):
                stop.check()
                if item.candidate.box is not None:
                    file.counts["boxes"] += 1
                elif searched:
                    file.counts[FOUND] += count_found(faces)
                several = len(faces) > 1 and sum(isinstance(face, Face) for face in faces) > 1
                identity = None if several else item.identity  # whose is it?
                for name, face in zip(item.names(len(faces)), faces, strict=True):
                    outcome = duplicates.sift(name, face)
                    if isinstance(outcome, Reject):
                        file.reject(name, str(outcome))
                        file.counts[outcome.reason] += 1
                        refuse_excess(file.counts[Reason.UNUSABLE], config.max_rejects, name, outcome)
                    else:
                        label = -1 if identity is None else labels[identity]
                        digest = outcome.fingerprint.digest if outcome.fingerprint else None
                        file.append(outcome.data, outcome.height, outcome.width, label, name, outcome.targets, digest)
                        for what in noted(outcome, label):
                            file.counts[what] += 1
                file.commit(done)
                progress(done, len(items))
                if config.samples is not None and file.samples >= config.samples:
                    break
        except Stopped:
            file.keep()
            raise
    if not config.dry_run and (complaint := leave_card(config.out)):
        print(printable(complaint), file=sys.stderr)
    return Summary(
        out=config.out,
        identities=len(labels),
        unknown=file.counts[UNKNOWN],
        boxes=file.counts["boxes"],
        found=file.counts[FOUND] if config.detect.detect != "none" else None,
        over_border=file.counts[OVER_BORDER],
        joins=joins,
        passed=file.counts["passed"],
        encoded=file.counts["encoded"],
        central=file.counts[CENTRAL],
        skipped=str(skipped),
        rejects={reason: file.counts[reason] for reason in Reason},
        begun=begun,
        nbytes=file.nbytes if isinstance(file, DryRun) else config.out.stat().st_size,
        seconds=time.monotonic() - start,
        dry_run=config.dry_run,
    )


def summary_of(manifest: Manifest, config: WriteConfig, seconds: float) -> Summary:
    """What many machines have written together."""
    counts = manifest.counts
    skipped = {name.removeprefix("skipped: "): n for name, n in counts.items() if name.startswith("skipped: ")}
    return Summary(
        out=config.out,
        identities=len(manifest.identities or ()),
        unknown=counts.get(UNKNOWN, 0),
        boxes=counts.get("boxes", 0),
        found=counts.get(FOUND, 0) if config.detect.detect != "none" else None,
        over_border=counts.get(OVER_BORDER, 0),
        joins=[Account(**join) for join in manifest.joins],
        passed=manifest.samples - counts.get("encoded", 0),
        encoded=counts.get("encoded", 0),
        central=counts.get(CENTRAL, 0),
        skipped="; ".join(f"{count:,} {reason}" for reason, count in skipped.items()),
        rejects={reason: counts.get(reason, 0) for reason in Reason},
        begun=0,
        nbytes=config.out.stat().st_size,
        seconds=seconds,
        dry_run=False,
    )


def report(joins: Sequence[Account], sources: Mapping[str, Source], config: WriteConfig) -> None:
    """Tell the user, before anything is written, what of the data given is not used, or only in part."""
    lines = [str(account) for account in joins if not account.complete]
    if config.curate.dedupe != "none" and any(text.partition(":")[0] in LAYOUTS for text in config.sources):
        lines.append("copies of a benchmark's faces are dropped; --dedupe none keeps all that were published")
    for name, source in sources.items():
        if config.boxes and not isinstance(source, Flickr | Synthetic | VGGFace2):
            lines.append(f"{name}: {config.boxes} is not used for it")
        if isinstance(source, Remarking):
            lines += source.remarks()
    for line in lines:
        print(printable(line), file=sys.stderr)


def warn_of_unsearched(sources: Mapping[str, Source], config: WriteConfig) -> None:
    """Tell the user of sources that may be whole photographs in which no detector looks for faces."""
    names = [name for name, source in sources.items() if isinstance(source, Flickr)]
    if names and config.detect.detect == "none":
        cause = "without --detect, a photograph without annotated faces becomes its central square"
        print(f"{printable(', '.join(sorted(names)))}: {cause}", file=sys.stderr)


def noted(face: Face, label: int) -> Iterator[str]:
    """What is counted of a sample."""
    yield "passed" if face.untouched else "encoded"
    if face.central:
        yield CENTRAL
    if face.over_border:
        yield OVER_BORDER
    if label < 0:
        yield UNKNOWN


def count_found(faces: Outcome) -> int:
    """How many faces a detector found on an item, whether or not they were kept."""
    none = (Reason.UNUSABLE, Reason.NO_FACE)
    return sum(not (isinstance(face, Reject) and face.reason in none) for face in faces)


def open_target(
    config: WriteConfig,
    kept: dict[str, object],
    items: Sequence[Item],
    chosen: ItemList,
    labels: dict[str, int],
    joins: Sequence[Account],
    targets: tuple[TargetSpec, ...],
) -> BetonWriter | DryRun:
    """Where the samples go."""
    capacity = len(items) * (1 if config.detect.detect == "none" else config.detect.max_faces)
    if config.dry_run:
        return DryRun(capacity, targets)
    return BetonWriter(
        config.out,
        capacity=capacity,
        labels=list(labels),
        settings=kept,
        overwrite=config.overwrite,
        work=name_work(chosen.rows(), labels, kept),  # the settings say which part of them
        joins=[asdict(account) for account in joins],
        targets=targets,
    )


def refuse_excess(rejected: int, allowed: int | None, name: str, reject: Reject) -> None:
    """Stop when more images were unusable than the user allows; what the filters drop does not count.

    Raises:
        WriteError: naming the last.
    """
    if allowed is not None and rejected > allowed:
        cause = f"{reject}; rejects: {rejected:,}, --max-rejects: {allowed:,}"
        raise WriteError(name, cause, "Mend or remove such images, or raise the limit.")


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
    if config.shard is not None:
        console.suggest(("frl", "merge", "SHARD...", "--out", "FILE"))
    elif config.dry_run:
        console.suggest(("frl", "write", *config.sources, "--out", config.out))
    else:
        console.suggest(
            ("frl", "preview", config.out),
            ("frl", "pretrain", "--data", config.out, "--out", "runs/" + config.out.stem),
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
