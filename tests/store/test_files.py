"""Results can be written, or the run says so before it trains."""

import shutil
from types import SimpleNamespace

import pytest

from btu.errors import ConfigError
from btu.store.files import check_writable, write_json


def test_a_nearly_full_disk_is_said_in_megabytes(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5_000_000))

    with pytest.raises(ConfigError, match="has 5 MB free, but this run needs about 90 MB"):
        check_writable(tmp_path, 90_000_000)


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match=r"cannot be written .*outputs=PATH"):
        check_writable(tmp_path / "file" / "outputs", 0)


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})

    with pytest.raises(TypeError):
        write_json(path, {"a": object()})

    assert path.read_text() == '{\n "a": 1\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
