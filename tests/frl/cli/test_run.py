"""What the command hands to the loader, and says at the start."""

import pytest

from frl.cli import run as command
from frl.config import DataConfig, RunConfig


class Asked(Exception):
    pass


@pytest.mark.parametrize(
    ("options", "compiled"),
    [({}, True), ({"compile": "on"}, True), ({"compile": "off"}, False), ({"deterministic": True}, False)],
)
def test_the_augmentation_is_compiled_unless_that_is_off(tmp_path, monkeypatch, options, compiled):
    def make_loader(*args, compile, **others):
        raise Asked(compile)

    monkeypatch.setattr(command, "make_loader", make_loader)
    for name in ("check_files", "check_network"):
        monkeypatch.setattr(command, name, lambda config: None)
    data = DataConfig(data=(tmp_path / "faces.beton",))
    config = RunConfig(out=tmp_path / "run", data=data, device="cpu", precision="fp32", **options)
    monkeypatch.setattr(command, "staged", lambda data: data)
    with pytest.raises(Asked) as asked:
        command.run(config, "none")
    assert asked.value.args == (compiled,)
