"""What a machine may lack, or have otherwise: folders on PATH, open standard streams, /proc, links, modes, one file system."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitlob_rsync.worktree import safe_write
from tests.support.handmade import CHUNK, check, drop, files_of, placeholder, put, sha_of, shas_in
from tests.support.shims import put_rsync
from tests.support.work import Work, clone

BARE = "/usr/local/bin:/usr/bin:/bin"
"""PATH as cron and systemd have it."""


def program(name: str) -> str:
    """One of ours, by its full path, from the folder of the interpreter that has what it needs."""
    return str(Path(sys.executable).parent / name)


@pytest.mark.parametrize("called", ["by its full path", "by a relative one", "through a link"])
def test_git_finds_the_filter_without_our_folder_on_path(work: Work, store: Path, tmp_path: Path, called: str) -> None:
    work.commit(a__bin=b"content")
    work.sync("--push")
    other = clone(work, tmp_path / "other", "-c", "git-lob.autofetch=false", location=store)
    assert other.read("a.bin") == placeholder(b"content")
    argv0 = program("gitlob-sync")
    if called == "by a relative one":
        argv0 = os.path.relpath(argv0, other.path)
    elif called == "through a link":
        argv0 = str(tmp_path / "linked")
        os.symlink(program("gitlob-sync"), argv0)
    other.run(argv0, "--pull", "--committed", env={"PATH": BARE})
    assert other.read("a.bin") == b"content"


def closed(work: Work, numbers: tuple[int, ...], *argv: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a program with standard streams closed, as `<&- >&- 2>&-` do."""
    shell = "".join(f"exec {number}<&-; " for number in numbers) + 'exec "$@"'
    return subprocess.run(["sh", "-c", shell, "sh", *argv], cwd=work.path, input=input, capture_output=True)


@pytest.mark.parametrize("numbers", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_closed_standard_streams_are_no_bug(work: Work, store: Path, numbers: tuple[int, ...]) -> None:
    """And no file that is opened gets what we print."""
    work.commit(a__bin=b"content")
    for argv in (
        ["gitlob-sync", "--push"],
        ["gitlob-status"],
        ["gitlob-status", "--json"],
        ["gitlob-fsck"],
        ["gitlob-purge", "-n"],
        ["gitlob-setup", "--check"],
        ["gitlob-sync", "--list"],
        ["gitlob-sync", "--pull", "--background"],
    ):
        done = closed(work, numbers, *argv)
        assert done.returncode == 0, (argv, done.stderr)
        if 1 in numbers:
            assert done.stdout == b""
    assert shas_in(store) == shas_in(work.content)
    assert closed(work, numbers, "gitlob-sync", "--bogus").returncode == 2
    for file in (work.content.parent / "state").rglob("*.json"):
        json.loads(file.read_bytes())
    assert work.git("fsck", "--strict") == b""


@pytest.mark.parametrize("numbers", [(0,), (1,), (0, 1), (1, 2), (0, 1, 2)])
def test_nothing_at_all_is_no_answer_for_the_filter(work: Work, numbers: tuple[int, ...]) -> None:
    for direction in ("clean", "smudge"):
        done = closed(work, numbers, "gitlob-filter", direction, input=b"content")
        assert done.returncode == 1
        assert done.stderr == b"" if 2 in numbers else b"is closed" in done.stderr
    if 0 in numbers:  # no commit goes because nobody could say that it does
        assert closed(work, numbers, "gitlob-sync", "--pre-push", "--", "origin").returncode == 1


def refusing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *calls: str) -> None:
    """Have our programs meet a file system that refuses calls of the os module, as exFAT does links and CIFS chmods."""
    folder = tmp_path / "refusing"
    folder.mkdir()
    lines = [
        "import errno, os",
        "def refuse(*args, **named):",
        "    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), *args[:1])",
        *(f"os.{call} = refuse" for call in calls),
    ]
    (folder / "sitecustomize.py").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{os.environ['PYTHONPATH']}")
    said = subprocess.run(
        [sys.executable, "-c", f"import os; os.{calls[0]}('a', 0)"], cwd=tmp_path, capture_output=True
    )
    assert b"PermissionError" in said.stderr


def rsync_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str) -> None:
    """An rsync first on PATH that runs the real one, and does something in the shell before and after ($code, $target)."""
    folder = tmp_path / "rsync"
    script = f'for target; do :; done\n{before}\nREAL "$@"\ncode=$?\n{after}\nexit $code\n'
    put_rsync(folder, script, monkeypatch)


REFUSED_MODES = """
case $* in *--server*|*--version*|*--dry-run*) exit $code;; esac
[ $code = 0 ] && {
    echo "rsync: [receiver] failed to set permissions on \\"$target.0000_0.a1B2c3\\": Operation not permitted (1)" >&2
    echo "rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1338)" >&2
    code=23
}
"""


def test_modes_that_a_remote_file_system_refuses_are_no_failure(
    work: Work, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.commit(a__bin=b"one", b__bin=b"two")
    rsync_that(tmp_path, monkeypatch, "", REFUSED_MODES)
    assert "permissions" not in work.sync("--push").stderr
    assert check(store) == check(work.content)
    shutil.rmtree(work.content)
    pulled = work.sync("--pull", "--committed")
    assert "pulled 2 of 2" in pulled.stderr and "permissions" not in pulled.stderr


def test_modes_are_no_excuse_for_what_did_not_arrive(
    work: Work, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.commit(a__bin=b"one", b__bin=b"two")
    torn = 'rm -f "$target"/*/*/*_0\n'
    rsync_that(tmp_path, monkeypatch, "", REFUSED_MODES.replace("    code=23", f"    code=23\n    {torn}"))
    failed = work.sync("--push", code=1)
    assert "failed to set permissions" in failed.stderr


def test_modes_that_our_own_file_system_refuses_are_no_failure(
    work: Work, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(tmp_path, monkeypatch, "chmod", "fchmod")
    old = os.umask(0o077)
    try:
        work.git("config", "core.sharedRepository", "group")
        work.git("config", "git-lob.sharedstore", str(tmp_path / "shared"))
        work.run("gitlob-setup", "--hooks")
        assert os.access(work.path / ".git/hooks/pre-push", os.X_OK)
        work.commit(a__bin=b"one")
        work.sync("--push")
        shutil.rmtree(work.content)
        shutil.rmtree(tmp_path / "shared")
        work.write("a.bin", placeholder(b"one"))
        work.sync()
        assert work.read("a.bin") == b"one"
        work.run("gitlob-fsck", "--repair")
    finally:
        os.umask(old)
    assert shas_in(work.content) == {sha_of(b"one")}


@pytest.mark.parametrize("exclusive_rename", [True, False])
def test_missing_files_are_restored_without_hard_links(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exclusive_rename: bool
) -> None:
    work.commit(a__bin=b"one", b__bin=b"two")
    refusing(tmp_path, monkeypatch, "link")
    if not exclusive_rename:  # as without renameat2
        with (tmp_path / "refusing/sitecustomize.py").open("a") as file:
            file.write("import ctypes\nctypes.CDLL = refuse\n")
    (work.path / "a.bin").unlink()
    assert work.json("--checkout", "--offline", "--restore-missing")["expanded"] == 1
    assert work.read("a.bin") == b"one"
    assert work.git("status", "--porcelain") == b""
    assert sorted(at.name for at in work.path.iterdir()) == [".git", ".gitattributes", "a.bin", "b.bin"]


@pytest.mark.parametrize("exclusive_rename", [True, False])
def test_a_file_that_came_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exclusive_rename: bool
) -> None:
    def no_link(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_link)
    if not exclusive_rename:
        monkeypatch.setattr(safe_write, "_rename_exclusively", lambda *_: False)
    (tmp_path / "a").mkdir()
    with safe_write.Tree(str(tmp_path / "a"), None) as opened:

        def content() -> Iterator[bytes]:
            yield b"ours"
            (tmp_path / "a" / "new").write_bytes(b"theirs")

        with pytest.raises(FileExistsError):
            opened.replace(b"new", None, content, 0o666)
        opened.replace(b"other", None, lambda: [b"ours"], 0o666)
    assert {at.name: at.read_bytes() for at in (tmp_path / "a").iterdir()} == {"new": b"theirs", "other": b"ours"}


def test_the_shared_store_serves_without_hard_links(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    large = os.urandom(CHUNK + 1)
    for content in (b"one", large, b""):
        put(shared, content)
    put(shared, b"damaged")
    drop_byte = shared / next(name for name in files_of(b"damaged") if name.endswith("_0"))
    drop_byte.write_bytes(b"DAMAGED")
    work.git("config", "git-lob.sharedstore", str(shared))
    refusing(tmp_path, monkeypatch, "link")
    for content in (b"one", large, b""):
        done = subprocess.run(
            ["gitlob-filter", "smudge"], cwd=work.path, input=placeholder(content), capture_output=True
        )
        assert (done.returncode, done.stdout) == (0, content)
    done = subprocess.run(
        ["gitlob-filter", "smudge"], cwd=work.path, input=placeholder(b"damaged"), capture_output=True
    )
    assert done.stdout == placeholder(b"damaged")
    assert check(work.content) == {sha_of(content) for content in (b"one", large, b"")}
    assert not work.staging


def in_a_namespace(script: str, folder: Path) -> None:
    """Run a script in a mount namespace of its own: as root, or as a user who is made root of it."""
    own = ["unshare", "-m"] if os.getuid() == 0 else ["unshare", "-rm"]
    done = subprocess.run([*own, "sh", "-euxc", script], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


MOUNTS = {
    "a file system of its own": "mount -t tmpfs volume .git/git-lob/content",
    "the same one, mounted twice": "mount --bind ../volume .git/git-lob/content",
}
TRIAL = """
mkdir -p ../volume .git/git-lob/content
MOUNT
printf one > a.bin; head -c 5000000 /dev/urandom > b.bin
git add -A; git commit -qm one
gitlob-sync --push
mkdir .git/git-lob/content/.gitlob-staging/left
printf x > .git/git-lob/content/.gitlob-staging/left/new_0
gitlob-sync --push
test -z "$(ls -A .git/git-lob/content/.gitlob-staging)"
rm -r .git/git-lob/content/???
gitlob-sync --pull --committed -q
gitlob-fsck --json > fsck.json
python3 -c 'import json; found = json.load(open("fsck.json")); assert not found["foreign"] and found["checked"] == 2, found'
chunk=$(ls .git/git-lob/content/???/???/*_0 | head -1)
printf damaged > $chunk
gitlob-fsck --repair
test -d .git/git-lob/content/.gitlob-quarantine
gitlob-fsck
rm -r .git/git-lob/content/???
rm a.bin
gitlob-sync --checkout --restore-missing
test "$(cat a.bin)" = one
gitlob-sync --complete
test -z "$(find ../remote -name '.gitlob-*')"
test -z "$(git status --porcelain --untracked-files=no)"
git rm -qf a.bin; git commit -qm two
gitlob-sync -q --push
git checkout -q HEAD~1
test "$(cat a.bin)" = one
"""


@pytest.mark.parametrize("mount", MOUNTS)
def test_the_content_folder_may_be_a_mount_point(work: Work, store: Path, mount: str) -> None:
    in_a_namespace(TRIAL.replace("MOUNT", MOUNTS[mount]), work.path)
    assert len(check(store)) == 2
    assert not work.staging and not (work.path / ".git/git-lob/quarantine").exists()


def test_what_lies_beside_the_content_is_used_where_it_can_be(work: Work) -> None:
    work.commit(a__bin=b"one")
    assert sorted(at.name for at in work.content.iterdir()) == [sha_of(b"one")[:3]]
    assert (work.content.parent / "staging").is_dir()


WITHOUT_PROC = """
mount -t tmpfs none /proc
test -z "$(ls /proc)"
printf one > a.bin
git add -A; git commit -qm one
gitlob-sync
gitlob-status
rm -r .git/git-lob/content
gitlob-sync --checkout
gitlob-fsck --remote
git -c filter.lob.process= clone -q . ../other
cd ../other
gitlob-setup -q origin ../remote/store
rm a.bin
git checkout -q -- a.bin
test "$(cat a.bin)" = one
gitlob-sync --pull --background
gitlob-purge -n
"""


def test_no_program_needs_proc(work: Work) -> None:
    in_a_namespace(WITHOUT_PROC, work.path)


@pytest.fixture
def forks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a line is written for each fork of a process of ours that has threads, which Python 3.12 and later warn of, and
    one for each that has none."""
    folder = tmp_path / "watching"
    folder.mkdir()
    log = folder / "log"
    (folder / "sitecustomize.py").write_text(f"""
import os, sys, threading

def note():
    names = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    with open({str(log)!r}, "a") as log:
        log.write(f"{{sys.argv}} has threads: {{names}}\\n" if names else "alone\\n")

os.register_at_fork(before=note)
""")
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{os.environ['PYTHONPATH']}")
    return log


def with_threads(log: Path) -> list[str]:
    lines = log.read_text().splitlines()
    assert lines, "nothing was forked"
    log.unlink()
    return [line for line in lines if line != "alone"]


def test_no_process_with_threads_forks_at_a_checkout(work: Work, store: Path, tmp_path: Path, forks: Path) -> None:
    """Some files are hashed ahead, some downloaded, in one git command."""
    contents = {f"{name}.bin": os.urandom(200_000) for name in "abcdef"}
    for name, content in contents.items():
        work.write(name, content)
    work.commit(large__bin=os.urandom(CHUNK + 1))
    work.sync("--push")
    forks.unlink()
    for name in "abc":
        drop(work.content, contents[f"{name}.bin"])
    for at in [*work.path.glob("*.bin")]:
        at.unlink()
    shutil.rmtree(work.content / work.git("show", ":large.bin").decode()[9:12])
    work.git("checkout", "--", ".")
    assert {name: work.read(name) for name in contents} == contents
    assert with_threads(forks) == []


def test_no_process_with_threads_forks_in_a_sync(work: Work, store: Path, forks: Path) -> None:
    contents = [os.urandom(size) for size in (10, 300_000, CHUNK + 1)]
    for number, content in enumerate(contents):
        work.write(f"{number}.bin", content)
    work.commit()
    work.sync("--push", "--progress", "bar")
    assert with_threads(forks) == []
    shutil.rmtree(work.content)
    work.sync("--progress", "bar")
    assert with_threads(forks) == []
    next(work.content.glob("???/???/*_0")).write_bytes(b"damaged")
    work.run("gitlob-fsck", "--repair", "--remote", "--progress", "bar")
    assert with_threads(forks) == []
    assert check(work.content) == set(map(sha_of, contents))
