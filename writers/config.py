"""The options of ``frl write``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from frl import store
from frl.beton.manifest import Manifest
from frl.beton.shard import Shard
from frl.config import as_dict
from frl.config.check import (
    require,
    require_above,
    require_file,
    require_folder,
    require_least,
    require_new_file,
    require_seed,
    require_within,
)
from frl.config.coerce import coerce
from frl.config.pairs import pairs
from frl.errors import ConfigError
from frl.stored_file import StoredFile
from writers import curate, detect
from writers.image.crop import CropSpec


@dataclass(frozen=True, kw_only=True)
class WriteConfig:
    """What to write, and where to."""

    sources: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE [SOURCE ...]")]
    """Where the faces are: PATH, whose layout says what it is, or KIND:PATH; the kinds are listed above."""
    out: Path
    """The .beton file to write; in an object store (s3://, gs://), to which it is uploaded when it is finished, too."""
    scratch: Path | None = None
    """Where a file for an object store is made; none: a folder of the system's for temporary files."""
    size: int = 256
    """Longest side of a sample, in pixels; smaller faces keep their size."""
    quality: int = 90
    """JPEG quality of the samples that are encoded anew, 1 to 95."""
    boxes: Path | None = None
    """CSV of face boxes: NAME_ID (path without suffix), X, Y, W, H. VGGFace2's loose_bb_*.csv are found without."""
    targets: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["--label-column"])] = ()
    """What else the columns of a list say of a face, each as NAME, NAME:KIND or NAME:KIND=COLUMN,FIRST:LAST,...: kinds
    are classes, numbers, points and visibility; none: as it looks. identity=COLUMN says who is on an image. Columns
    x0,y0,x1,y1,... are landmarks without being named."""
    margin: float = 0.3
    """Share of a box's longer side added around it. Images without a box are cut to their central square."""
    licence: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Under which licence or consent the images are used, for the data card: one TEXT for all sources, or SOURCE=TEXT
    for each (repeat the option), SOURCE as it was given."""
    seed: int = 0
    """Seeds the shuffle."""
    limit: int | None = None
    """Use only so many images, drawn by the seed: those of a smaller number are among those of a larger one."""
    identities: int | None = None
    """Use only so many people, drawn by the seed in the same way; images of nobody in particular are left out."""
    per_identity: int | None = None
    """Use only so many images of a person, drawn by the seed in the same way; images of nobody are left out."""
    samples: int | None = None
    """Stop when so many samples are written: as --limit, but what is rejected or filtered out does not count."""
    shard: str | None = None
    """Write only the I-th of N parts, as I/N: 1/8 to 8/8, say, in a job array. frl merge joins them."""
    on: Literal["local", "slurm", "ray"] | None = None
    """Write --shards parts as jobs of Slurm (pip install submitit), of Ray (pip install ray) or as processes of this
    machine, and join them; none: write it here."""
    shards: int | None = None
    """Into how many parts --on divides the work."""
    on_options: tuple[str, ...] = ()
    """What to tell Slurm of each job, as submitit has it: partition=cpu time=240 mem=16GB, say. A job has --workers
    cores."""
    workers: int = 0
    """Processes that read, cut and encode; 0: one per core."""
    max_rejects: int | None = None
    """Fail when more images than this are unusable; 0: when any is. What the filters below drop does not count."""
    max_megapixels: float = 100.0
    """Reject larger images before they are decoded."""
    merge_identities: bool = False
    """Identities of the same name in different sources are one person; otherwise they never are."""
    overwrite: bool = False
    """Replace the file if it exists."""
    dry_run: bool = False
    """Say what would be written and what would be left out, and write nothing."""
    detect: Annotated[detect.DetectConfig, tyro.conf.arg(name="")] = field(default_factory=detect.DetectConfig)
    curate: Annotated[curate.CurateConfig, tyro.conf.arg(name="")] = field(default_factory=curate.CurateConfig)

    def __post_init__(self) -> None:
        coerce(self)


def validate(config: WriteConfig) -> None:
    """Refuse options that cannot work.

    Raises:
        ConfigError: naming the first.
    """
    if not config.sources:
        raise ConfigError(
            "SOURCE", "no image found, for no source was given", "Name a folder, a tar or a file; --help lists all."
        )
    require_new_file(config.out, "out", overwrite=config.overwrite or config.dry_run)
    if not config.dry_run:
        require_folder(config.out.absolute().parent, "out")
    require_within("size", config.size, 1, 65535, "Use e.g. 256.")
    require_within("quality", config.quality, 1, 95, "Use e.g. 90.")
    if config.boxes is not None:
        require_file(config.boxes, "boxes")
    require_least("margin", config.margin, 0, "Use e.g. 0.3.")
    require_seed("seed", config.seed)
    if config.limit is not None:
        require_least("limit", config.limit, 1, "There would be nothing to write.")
    if config.identities is not None:
        require_least("identities", config.identities, 1, "There would be nothing to write.")
    if config.per_identity is not None:
        require_least("per_identity", config.per_identity, 1, "There would be nothing to write.")
    if config.samples is not None:
        require_least("samples", config.samples, 1, "There would be nothing to write.")
        cause = "a shard does not know how many samples the others write"
        for option, given in (("--shard", config.shard), ("--on", config.on)):
            require(given is None, "samples", cause, f"Use --limit, or write without {option}.")
    Shard.parse(config.shard)
    _check_machines(config)
    licences(config)
    require_least("workers", config.workers, 0, "Use 0 for one per core.")
    if config.max_rejects is not None:
        require_least("max_rejects", config.max_rejects, 0, "Use 0 for none.")
    require_above("max_megapixels", config.max_megapixels, 0, "Use e.g. 100.")
    detect.validate(config.detect)
    curate.validate(config.curate)
    cause = f"no sample has {config.curate.min_side} pixels a side where --size is {config.size}"
    require(config.curate.min_side <= config.size, "min_side", cause, "Lower it, or raise --size.")
    for option, given in (("--shard", config.shard), ("--on", config.on)):
        if given and config.curate.dedupe == "near":
            cause, remedy = "a shard does not see what faces in the others look like", f"or write without {option}"
            raise ConfigError("--dedupe near", cause, f"Use exact, which joining the shards completes, {remedy}.")


def _check_machines(config: WriteConfig) -> None:
    """Refuse what contradicts itself of ``--on``, ``--shards`` and ``--on-options``."""
    if config.shards is not None:
        require_least("shards", config.shards, 1, "Use about as many as there are machines.")
    require((config.on is None) == (config.shards is None), "shards", "goes with --on, and --on with it", "Give both.")
    on_options(config)
    cause = "is for Slurm"
    require(config.on == "slurm" or not config.on_options, "on_options", cause, "Give --on slurm, or leave it out.")
    if config.on is not None:
        require(config.shard is None, "shard", "is what --on divides", "Leave one of them out.")
        require(not config.dry_run, "dry_run", "writes nothing, here or elsewhere", "Leave --on out.")


def on_options(config: WriteConfig) -> dict[str, str]:
    """What Slurm is told of each job, by submitit's names.

    Raises:
        ConfigError: if one is not NAME=VALUE, or a name comes twice.
    """
    return pairs(config.on_options, "--on-options", "partition=cpu")


def crop_spec(config: WriteConfig) -> CropSpec:
    """The part of the configuration that shapes a sample."""
    return CropSpec(
        size=config.size,
        margin=config.margin,
        quality=config.quality,
        max_pixels=int(config.max_megapixels * 1e6),
    )


def settings(
    config: WriteConfig, names: Iterable[str], versions: Mapping[str, StoredFile] | None = None
) -> dict[str, object]:
    """What the manifest keeps: whatever shapes the content of the file.

    Args:
        config: the options.
        names: what each source is called in the names of its samples, in the order of the options.
        versions: the files of object stores among them: with others, it is another work.
    """
    kept = as_dict(config)
    for option in (
        "out",
        "scratch",
        "on",
        "shards",
        "on_options",
        "workers",
        "overwrite",
        "max_rejects",
        "licence",
        "dry_run",
    ):
        del kept[option]
    for option in (
        "targets",
        "identities",
        "per_identity",
        "samples",
    ):  # younger than files that are to be gone on with
        if not kept[option]:
            del kept[option]
    stated = taken_over(config.sources) | licences(config)
    kept["licences"] = {
        name: stated[source] for name, source in zip(names, config.sources, strict=True) if source in stated
    }
    kept["sources"] = dict(zip(names, config.sources, strict=True))
    if versions:
        kept["versions"] = {name: list(file.state) for name, file in versions.items()}
    return kept


def taken_over(sources: Iterable[str]) -> dict[str, str]:
    """The licences that ``.beton`` files among some sources were written with, by the source as it was given."""
    found = {}
    for text in sources:
        path = Path(text.removeprefix("beton:"))
        manifest = Manifest.load(path) if path.suffix == ".beton" and not store.address(text) else None
        if manifest is not None and (stated := set(manifest.settings.get("licences", {}).values())):
            found[text] = "; ".join(sorted(stated))
    return found


def licences(config: WriteConfig) -> dict[str, str]:
    """The licence of each source for which one is stated, by the source as it was given.

    Raises:
        ConfigError: if one is stated for what is no source, or twice.
    """
    stated: dict[str, str] = {}
    for text in config.licence:
        source, equals, licence = text.partition("=")
        named = [source] if equals else list(config.sources)
        if not (licence if equals else text).strip():
            raise ConfigError("--licence", f"{text!r} states none", "Give TEXT, or SOURCE=TEXT.")
        if equals and source not in config.sources:
            raise ConfigError("--licence", f"{source!r} is none of the sources", "Give TEXT, or SOURCE=TEXT.")
        for name in named:
            if name in stated:
                raise ConfigError("--licence", f"two are stated for {name}", "Give one for all, or one for each.")
            stated[name] = licence if equals else text
    return stated
