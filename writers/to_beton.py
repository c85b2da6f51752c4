"""Write folders of face images into one .beton file.

Every image becomes a square, upright RGB JPEG of at most --size pixels; a JPEG that is that already keeps its bytes.
What cannot be used is listed with its reason beside the file. The file appears under its name only when it is complete.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import tyro
from tqdm import tqdm

from frl.beton import BetonWriter
from frl.errors import FrlError, WriteError
from writers.config import WriteConfig, crop_spec, settings, validate
from writers.flow import prepare_all, start_pool
from writers.items import Item, choose, label_identities
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
    items = choose(sources, config)
    labels = label_identities(items)
    summary = Summary(out=config.out, identities=len(labels), boxes=sum(i.candidate.box is not None for i in items))
    file = BetonWriter(
        config.out, capacity=len(items), labels=list(labels), settings=settings(config), overwrite=config.overwrite
    )
    with file, start_pool(sources, crop_spec(config), config.workers) as pool:
        outcomes = tqdm(prepare_all(items, sources, pool, config.out), total=len(items), unit="img", disable=None)
        for item, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, Reject):
                file.reject(item.name, str(outcome))
                summary.rejected += 1
                refuse_excess(summary.rejected, config.max_rejects, item, outcome)
            else:
                label = -1 if item.identity is None else labels[item.identity]
                file.append(outcome.data, outcome.height, outcome.width, label, item.name)
                summary.passed += outcome.untouched
                summary.encoded += not outcome.untouched
    summary.nbytes = config.out.stat().st_size
    summary.seconds = time.monotonic() - start
    return summary


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
    except FrlError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
