"""What a configuration says of an option that cannot work."""

from __future__ import annotations

from frl.errors import ConfigError


def require(condition: bool, option: str, cause: str, remedy: str) -> None:
    """Refuse an option, named as on the command line but for its dashes, unless ``condition`` holds.

    Raises:
        ConfigError: with the cause and the remedy.
    """
    if not condition:
        raise ConfigError(f"--{option}", cause, remedy)
