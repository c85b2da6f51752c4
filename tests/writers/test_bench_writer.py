"""The loop over PIL that the writer is measured beside does the work that it is said to do."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from pictures import encode, picture
from PIL import Image

from scripts.bench.writer_contestants import pil_loop


def test_the_pil_loop_writes_every_square_and_where_it_lies(tmp_path: Path) -> None:
    for i, (width, height) in enumerate([(300, 400), (90, 60), (256, 256)]):
        file = tmp_path / "faces" / f"n{i:06}" / f"{i}.jpg"
        file.parent.mkdir(parents=True)
        file.write_bytes(encode(picture(width, height)))
    out = tmp_path / "faces.records"
    pil_loop(tmp_path / "faces", out, 2)()
    data, row = out.read_bytes(), np.dtype([("label", "<i8"), ("start", "<u8"), ("bytes", "<u8")])
    table = np.frombuffer(data[-3 * row.itemsize :], row)
    assert table["label"].tolist() == [0, 1, 2]
    sizes = [Image.open(io.BytesIO(data[start : start + count])).size for _, start, count in table.tolist()]
    assert sizes == [(256, 256), (60, 60), (256, 256)]
