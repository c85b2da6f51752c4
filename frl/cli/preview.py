"""``frl preview faces.beton --out preview.png``."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import tyro

from frl import console
from frl.cli.data import open_images
from frl.config import EngineName
from frl.config.check import require, require_least, require_new_file, require_seed
from frl.errors import ConfigError
from frl.files import atomic_write
from frl.presets import preset
from frl.printable import printable
from frl.recipes import crops_in_words
from pipelines.preview import contact_sheet


@dataclass(frozen=True)
class PreviewConfig:
    """Picture some images and the crops that pre-training would make of them."""

    data: tyro.conf.Positional[Path]
    """A .beton file."""
    out: Path | None = None
    """Picture to write; none: preview.png, in place of an older one."""
    overwrite: bool = False
    """Replace the picture if it exists."""
    count: int = 8
    """Images shown."""
    seed: int = 0
    """Seed of the crops, as in frl pretrain."""
    engines: tuple[EngineName, ...] = ("threads",)
    """The engine that decodes; of several, images and crops are shown one below the other. Those that are not installed
    are left out."""
    preset: str = "vggface2"
    """Whose crops to show; a preset of frl pretrain."""


def main(arguments: list[str]) -> None:
    """Draw the sheet and say where it is."""
    config = tyro.cli(PreviewConfig, args=arguments, prog="frl preview")
    require_least("count", config.count, 1, "The default is 8.")
    require_seed("seed", config.seed)
    require(len(config.engines) > 0, "engines", "none is named", "The torch engine always works.")
    out = config.out or Path("preview.png")
    require_new_file(out, "out", overwrite=config.overwrite or config.out is None)
    require_picture(out, "out")
    augment = preset(config.preset).config.augment
    engines = [engine for engine in config.engines if _is_here(engine)]
    if not engines:
        raise ConfigError("--engines", "none of them is installed", "The torch engine always works.")
    sheet = contact_sheet(config.data, augment, config.seed, config.count, engines, open=open_images)
    save_picture(out, sheet)
    print(f"crops: {crops_in_words(augment)}")
    print(printable(out))
    console.suggest(("frl", "pretrain", config.preset, "--data", config.data, "--out", "runs/" + config.data.stem))


def _is_here(engine: EngineName) -> bool:
    """Whether an engine's package is installed; says so where it is not."""
    packages = {
        "threads": ("simplejpeg", "pip install simplejpeg"),
        "ffcv": ("ffcv", "bash scripts/setup.sh"),
        "dali": ("nvidia.dali", "pip install nvidia-dali-cuda130"),
    }
    package, install = packages.get(engine, ("torch", ""))
    try:
        found = importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # the package that holds it is missing too
        found = False
    if not found:
        print(f"{engine} is not installed and is left out: {install}")
    return found


def require_picture(path: Path, option: str) -> None:
    """Refuse a name that does not end as that of a picture that can be written; raises like `require`."""
    # OpenCV is shown the ending alone: of a whole name that is not UTF-8 it would end the process.
    known = path.suffix.isascii() and cv2.haveImageWriter(f"picture{path.suffix}")
    require(known, option, f"{path} has no suffix of a picture that can be written", "Name a .png or .jpg.")


def save_picture(path: Path, picture: cv2.typing.MatLike) -> None:
    """Write an RGB ``(H, W, 3)`` uint8 picture in the format that the name's ending says, see `require_picture`.

    Raises:
        ConfigError: if it cannot be written there.
    """
    try:
        _, encoded = cv2.imencode(path.suffix, picture[..., ::-1])
        with atomic_write(path) as stream:
            stream.write(encoded.tobytes())
    except (OSError, cv2.error) as error:
        cause = f"the picture cannot be written there ({error})"
        raise ConfigError(path, cause, "Name a .png or .jpg in a writable folder.") from error
