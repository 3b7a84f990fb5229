"""gitlob-setup configures the filter and a remote, and overwrites nothing foreign."""

from pathlib import Path

import pytest

from tests.support.work import Work, clone, init


def value(work: Work, key: str) -> str:
    return work.git("config", "--get", key).decode().rstrip("\n")


@pytest.mark.smoke
def test_one_command_configures_filter_and_remote(tmp_path: Path) -> None:
    work = init(tmp_path / "work")
    done = work.run("gitlob-setup", "origin", "nas:/srv/binaries")
    assert value(work, "filter.lob.clean") == "gitlob-filter clean -- %f"
    assert value(work, "filter.lob.smudge") == "gitlob-filter smudge -- %f"
    assert value(work, "filter.lob.required") == "true"
    assert value(work, "remote.origin.git-lob-path") == "nas:/srv/binaries"
    assert value(work, "remote.origin.git-lob-provider") == "rsync"
    assert done.stdout == "" and "nas:/srv/binaries" in done.stderr


def test_a_path_is_kept_absolute(tmp_path: Path) -> None:
    work = init(tmp_path / "work")
    (work.path / "sub").mkdir()
    work.run("gitlob-setup", "-q", "origin", "../../store", cwd="sub")
    assert value(work, "remote.origin.git-lob-path") == str(tmp_path / "store")
    assert value(work, "remote.origin.git-lob-provider") == "filesystem"


def test_it_can_be_repeated_and_changed(tmp_path: Path) -> None:
    work = init(tmp_path / "work", location="nas:/one")
    work.run("gitlob-setup", "origin", "ssh://nas:2222/two")
    assert work.git("config", "--get-all", "remote.origin.git-lob-path").decode() == "ssh://nas:2222/two\n"


def test_a_foreign_filter_is_kept(tmp_path: Path) -> None:
    work = init(tmp_path / "work")
    work.git("config", "filter.lob.clean", "git-lob filter-clean %f")
    done = work.run("gitlob-setup", code=2)
    assert done.stderr.count("\n") == 1 and "--force" in done.stderr
    assert value(work, "filter.lob.clean") == "git-lob filter-clean %f"
    work.run("gitlob-setup", "--force")
    assert value(work, "filter.lob.clean") == "gitlob-filter clean -- %f"


@pytest.mark.parametrize(
    "args",
    [
        ("origin",),
        ("-x", "nas:/srv"),
        ("or igin", "nas:/srv"),
        ("origin", "-e/bin/sh"),
        ("origin", "nas:"),
        ("origin", "s3://bucket/x"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, args: tuple[str, ...]) -> None:
    work = init(tmp_path / "work")
    done = work.run("gitlob-setup", *args, code=2)
    assert done.stderr.startswith("gitlob-setup: ") and done.stderr.count("\n") == 1
    assert work.git("config", "--get-regexp", "git-lob", code=1) == b""


def test_a_clone_of_a_configured_repository_works_with_real_git(tmp_path: Path) -> None:
    store = tmp_path / "store"
    work = init(tmp_path / "work", location=store)
    work.commit(a__bin=b"content")
    work.sync("--push")
    other = clone(work, tmp_path / "clone", location=store)
    other.sync()
    assert other.read("a.bin") == b"content"
    other.commit(a__bin=b"changed")
    other.sync()
    other.git("push", "-q", "origin", "HEAD:refs/heads/changed")
    work.git("config", "remote.origin.url", str(other.path))
    work.sync("--pull", "--window", "30d")
    work.git("checkout", "-q", "changed")
    assert work.read("a.bin") == b"changed"


def test_a_program_that_is_not_on_path_is_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import subprocess

    programs = Path(os.environ["PATH"].split(os.pathsep)[0])
    work = init(tmp_path / "work")
    rest = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if not Path(p, "gitlob-filter").exists())
    monkeypatch.setenv("PATH", rest)
    import sys

    subprocess.run([sys.executable, programs / "gitlob-setup", "-q"], cwd=work.path, check=True)
    assert value(work, "filter.lob.clean") == f"{programs}/gitlob-filter clean -- %f"
