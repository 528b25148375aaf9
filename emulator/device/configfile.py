"""`core.config.Config` as a JSON file."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from emulator.core.config import Config


class ConfigError(ValueError):
    """The file is not a device configuration; the text names file and field."""


def dump(config: Config) -> bytes:
    """The form `load` reads."""
    return TypeAdapter(Config).dump_json(config, indent=1)


def load(path: Path) -> Config:
    """Read a device configuration; raises ConfigError."""
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def parse(data: bytes, where: str) -> Config:
    """A configuration that came from `where`; raises ConfigError."""
    try:
        return TypeAdapter(Config).validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {field or 'file'}: {first['msg']}") from error
