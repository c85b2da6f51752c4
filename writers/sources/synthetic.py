"""What ``frl synthesize`` draws: identity folders, and the truth about every face beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from frl.beton.targets import TargetSpec
from frl.errors import SourceError
from writers.sources.bucket import Bucket
from writers.sources.directory import Directory
from writers.sources.files import open_binary
from writers.sources.join import Table
from writers.sources.source import Candidate
from writers.sources.tar import CompressedTars, Tars
from writers.sources.targets import Reading, Wanted, read_json_targets, stated_beside
from writers.sources.vggface2 import VGGFace2

TRUTH = "truth.jsonl"

NAME_HINT = "Its paths are those of the images below the folder."

WANTED = tuple(
    map(Wanted.parse, ("landmarks:points", "visible:visibility", "pose:vector=yaw,pitch,roll", "expression"))
)
"""The targets of folders that were drawn before their truth was described."""


@dataclass(frozen=True)
class Synthetic:
    """Drawn faces with what is known of them, as the description beside the truth says.

    Attributes:
        faces: the images of the folder in which the truth lies, as a source without targets.
    """

    faces: VGGFace2

    @property
    def store(self) -> Directory | Bucket | Tars | CompressedTars:
        """See ``Source``."""
        return self.faces.store

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """See ``TargetSource``."""
        return tuple(reading.spec for reading in self._readings)

    def candidates(self) -> Iterator[Candidate]:
        """List the images by identity; of one that the truth does not name nothing is known. See ``Source``."""
        truth = self._table.join(self.store.location)
        try:
            with open_binary(self._path) as stream:
                for candidate in self.faces.candidates():
                    places = () if candidate.fault else truth.rows(candidate.name, candidate.name)
                    if not places:
                        yield candidate
                        continue
                    stream.seek(places[0])
                    record = json.loads(stream.readline())
                    values = {reading.spec.name: reading.value(record) for reading in self._readings}
                    yield candidate._replace(targets={name: v for name, v in values.items() if v is not None})
        except (OSError, ValueError) as error:
            raise self._damaged(error) from error

    def tables(self) -> Iterator[Table]:
        """The truth, and the tables of boxes; see ``Tabled``."""
        yield self._table
        yield from self.faces.tables()

    @cached_property
    def _table(self) -> Table[int]:
        """Where in the truth the line of each image begins."""
        return Table(self._path, {record["path"]: (place,) for place, record in self._truth()}, NAME_HINT)

    @cached_property
    def _readings(self) -> tuple[Reading, ...]:
        wanted = () if stated_beside(self._path) else WANTED
        return read_json_targets(self._path, wanted, lambda: (record for _, record in self._truth()))

    @property
    def _path(self) -> str:
        return os.path.join(self.store.location, TRUTH)

    def _truth(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Every line of the truth, and where in the file it begins."""
        place = 0
        try:
            with open_binary(self._path) as stream:
                for line in stream:
                    record = json.loads(line)
                    record["path"]  # noqa: B018  # one without is damaged
                    yield place, record
                    place += len(line)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> SourceError:
        remedy = f"Draw it again, or give vggface2:{self.store.location} to do without targets."
        return SourceError(self._path, f"is damaged ({error})", remedy)
