"""Write folders of face images into one .beton file.

Every image becomes a square, upright RGB JPEG of at most --size pixels; a JPEG that is that already keeps its bytes.
What cannot be used is listed with its reason beside the file. The file appears under its name only when it is complete;
after a kill, the same command goes on where it was.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import tyro
from tqdm import tqdm

from frl.beton import BetonWriter
from frl.beton.card import leave_card
from frl.beton.shard import Shard
from frl.errors import FrlError, SourceError, WriteError
from writers.config import WriteConfig, crop_spec, settings, validate
from writers.flow import prepare_all, start_pool
from writers.item_list import choose
from writers.items import Item, label_identities, name_work
from writers.sources import Reject, help_on_kinds, open_sources
from writers.summary import Summary


def write(config: WriteConfig) -> Summary:
    """Write the file that ``config`` describes.

    Raises:
        ConfigError: if an option makes no sense.
        SourceError: if a source is absent, or no image is found.
        WriteError: if the file exists, a worker fails, or too many images are rejected.
    """
    validate(config)
    start = time.monotonic()
    sources = open_sources(config.sources, config.boxes)
    chosen = choose(sources, config)
    labels = label_identities(chosen)  # of all shards, so that they agree
    items = Shard.parse(config.shard).of(chosen)
    if not items:
        raise SourceError(
            f"--shard {config.shard}", f"none of the {len(chosen):,} images is in it", "Use fewer shards."
        )
    kept = settings(config, sources)
    file = BetonWriter(
        config.out,
        capacity=len(items),
        labels=list(labels),
        settings=kept,
        overwrite=config.overwrite,
        work=name_work(items, labels, kept),
    )
    with file, start_pool(sources, crop_spec(config), config.workers) as pool:
        begun = file.done
        if begun:
            print(f"{config.out}: going on after the {begun:,} images that are done", file=sys.stderr)
        rest = items[begun:]
        results = prepare_all(rest, sources, pool, config.out)
        outcomes = tqdm(results, initial=begun, total=len(items), unit="img", disable=None)
        for done, (item, outcome) in enumerate(zip(rest, outcomes, strict=True), begun + 1):
            file.counts["boxes"] += item.candidate.box is not None
            if isinstance(outcome, Reject):
                file.reject(item.name, str(outcome))
                refuse_excess(file.rejected, config.max_rejects, item, outcome)
            else:
                label = -1 if item.identity is None else labels[item.identity]
                file.append(outcome.data, outcome.height, outcome.width, label, item.name)
                file.counts["passed" if outcome.untouched else "encoded"] += 1
            file.commit(done)
    if complaint := leave_card(config.out):
        print(complaint, file=sys.stderr)
    return Summary(
        out=config.out,
        identities=len(labels),
        boxes=file.counts["boxes"],
        passed=file.counts["passed"],
        encoded=file.counts["encoded"],
        rejected=file.rejected,
        begun=begun,
        nbytes=config.out.stat().st_size,
        seconds=time.monotonic() - start,
    )


def refuse_excess(rejected: int, allowed: int | None, item: Item, reject: Reject) -> None:
    """Stop when more images were rejected than the user allows.

    Raises:
        WriteError: naming the last.
    """
    if allowed is not None and rejected > allowed:
        cause = f"{reject}; rejects: {rejected:,}, --max-rejects: {allowed:,}"
        raise WriteError(item.name, cause, "Mend or remove such images, or raise the limit.")


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
