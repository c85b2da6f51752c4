"""Write folders of face images into one .beton file.

Every image becomes a square, upright RGB JPEG of at most --size pixels; a JPEG that is that already keeps its bytes.
What cannot be used is listed with its reason beside the file. The file appears under its name only when it is complete;
after a kill, the same command goes on where it was.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

import tyro
from tqdm import tqdm

from frl.beton import BetonWriter
from frl.beton.card import leave_card
from frl.beton.shard import Shard
from frl.beton.targets import TargetSpec
from frl.errors import FrlError, SourceError, WriteError
from writers.config import WriteConfig, settings, validate
from writers.curate import Duplicates
from writers.dry_run import DryRun
from writers.flow import prepare_all, start_pool
from writers.item_list import choose
from writers.items import Item, label_identities, name_work
from writers.reject import Reason, Reject
from writers.sources import Flickr, Source, help_on_kinds, open_sources
from writers.summary import Summary
from writers.targets import ask, find_targets

CENTRAL = "central squares of photographs"
"""What is counted where nobody knows or looks for the faces."""


def write(config: WriteConfig) -> Summary:
    """Write the file that ``config`` describes.

    Raises:
        ConfigError: if an option makes no sense.
        SourceError: if a source is absent, or no image is found.
        WriteError: if the file exists, a worker fails, or too many images are rejected.
    """
    validate(config)
    start = time.monotonic()
    sources = ask(open_sources(config.sources, config.boxes), config.targets)
    workers = start_pool(sources, config)  # what they import, they import while the sources are listed
    chosen = choose(sources, config)
    labels = label_identities(chosen)  # of all shards, so that they agree
    items = Shard.parse(config.shard).of(chosen)
    photographs = unsearched(sources, config)
    if not items:
        raise SourceError(
            f"--shard {config.shard}", f"none of the {len(chosen):,} images is in it", "Use fewer shards."
        )
    file = open_target(config, settings(config, sources), items, labels, find_targets(sources))
    with file, workers as pool, Duplicates() as duplicates:
        begun = file.done
        if begun:
            print(f"{config.out}: going on after the {begun:,} images that are done", file=sys.stderr)
            duplicates.restore(config.curate.dedupe, file.stored())
        rest = items[begun:]
        results = prepare_all(rest, sources, pool, config.out)
        outcomes = tqdm(results, initial=begun, total=len(items), unit="img", disable=None)
        for done, (item, faces) in enumerate(zip(rest, outcomes, strict=True), begun + 1):
            file.counts["boxes"] += item.candidate.box is not None
            for name, face in zip(item.names(len(faces)), faces, strict=True):
                outcome = duplicates.sift(name, face)
                if isinstance(outcome, Reject):
                    file.reject(name, str(outcome))
                    file.counts[outcome.reason] += 1
                    refuse_excess(file.counts[Reason.UNUSABLE], config.max_rejects, name, outcome)
                else:
                    label = -1 if item.identity is None else labels[item.identity]
                    file.append(outcome.data, outcome.height, outcome.width, label, name, outcome.targets)
                    file.counts["passed" if outcome.untouched else "encoded"] += 1
                    if item.source in photographs and item.candidate.box is None:
                        file.counts[CENTRAL] += 1
            file.commit(done)
    if not config.dry_run and (complaint := leave_card(config.out)):
        print(complaint, file=sys.stderr)
    return Summary(
        out=config.out,
        identities=len(labels),
        boxes=file.counts["boxes"],
        passed=file.counts["passed"],
        encoded=file.counts["encoded"],
        central=file.counts[CENTRAL],
        rejects={reason: file.counts[reason] for reason in Reason},
        begun=begun,
        nbytes=file.nbytes if isinstance(file, DryRun) else config.out.stat().st_size,
        seconds=time.monotonic() - start,
        dry_run=config.dry_run,
    )


def unsearched(sources: Mapping[str, Source], config: WriteConfig) -> set[str]:
    """The sources of whole photographs in which no detector looks for faces; the user is told."""
    if config.detect.detect != "none":
        return set()
    names = {name for name, source in sources.items() if isinstance(source, Flickr)}
    if names:
        cause = "without --detect, a photograph without annotated faces becomes its central square"
        print(f"{', '.join(sorted(names))}: {cause}", file=sys.stderr)
    return names


def open_target(
    config: WriteConfig,
    kept: dict[str, object],
    items: Sequence[Item],
    labels: dict[str, int],
    targets: tuple[TargetSpec, ...],
) -> BetonWriter | DryRun:
    """Where the samples go."""
    if config.dry_run:
        return DryRun()
    faces = 1 if config.detect.detect == "none" else config.detect.max_faces
    return BetonWriter(
        config.out,
        capacity=faces * len(items),
        labels=list(labels),
        settings=kept,
        overwrite=config.overwrite,
        work=name_work(items, labels, kept),
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
        The exit status: 0, 1 after an error of ours, 130 after an interrupt.
    """
    description = f"{__doc__}\nKinds of sources:\n\n{help_on_kinds()}"
    config = tyro.cli(WriteConfig, args=arguments, prog="frl write", description=description)
    try:
        print(write(config))
    except (FrlError, KeyboardInterrupt) as stop:
        interrupted = isinstance(stop, KeyboardInterrupt)
        print("interrupted; the file is not there" if interrupted else f"error: {stop}", file=sys.stderr)
        for note in getattr(stop, "__notes__", ()):
            print(note, file=sys.stderr)
        return 130 if interrupted else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
