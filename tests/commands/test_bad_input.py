"""Whatever is wrong ends in one line on stderr that names it, and in the exit code that is promised."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.handmade import check, chunk, placeholder, put, sha_of, shas_in
from tests.support.places import Place, make_place
from tests.support.processes import UNPRIVILEGED, locked, one_line, program
from tests.support.repositories import repository
from tests.support.servers import Daemon, Sshd, free_port
from tests.support.work import Work


@pytest.fixture
def ready(tmp_path: Path, store: Path) -> Work:
    """A repository with a binary that the store of origin has not, and that origin's store is to get."""
    return repository(tmp_path / "ready", store, {"a.bin": b"abc"})


# Where it is run, and with what


def test_not_a_repository(tmp_path: Path) -> None:
    line = one_line(Work(tmp_path).sync("--pull", code=2))
    assert str(tmp_path) in line and "not in a git repository" in line


def some_programs(folder: Path, *names: str) -> str:
    """A PATH that has these, what python needs, and our own."""
    folder.mkdir()
    for name in ("python3", "env", "sh", *names):
        (folder / name).symlink_to(shutil.which(name) or "")
    return f"{folder}:{os.environ['PATH'].split(':')[0]}"


@pytest.mark.parametrize(("have", "lacking"), [("rsync", "git"), ("git", "rsync")])
def test_what_is_not_installed_is_named(ready: Work, tmp_path: Path, have: str, lacking: str) -> None:
    line = one_line(ready.sync("--push", code=2, env={"PATH": some_programs(tmp_path / "some", have)}))
    assert line.startswith(f"{lacking} is not installed")


def test_without_rsync_there_is_what_needs_none(ready: Work, tmp_path: Path) -> None:
    env = {"PATH": some_programs(tmp_path / "some", "git")}
    assert sha_of(b"abc") in ready.sync("--list", "--committed", env=env).stdout
    assert ready.json("--pull", env=env)["present"] == 1


def test_a_git_that_is_killed_between_two_questions(tmp_path: Path, store: Path) -> None:
    """It is told, and not taken for a reader of our output that had enough."""
    work = repository(tmp_path / "work", store, {f"{number}.bin": b"%d" % number for number in range(350)})
    (tmp_path / "bin").mkdir()
    program(
        tmp_path / "bin" / "git",
        f'case "$*" in *=%\\(objectsize\\)) ;; *) exec {shutil.which("git")} "$@" ;; esac\n'
        "head -n 300 >/dev/null\nexec <&-\nyes 0 | head -n 300\nkill -9 $$",
    )
    line = one_line(work.sync("--push", code=1, env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}))
    assert line == "git cat-file failed (signal 9): it said nothing"


def test_a_git_that_is_too_old(ready: Work, tmp_path: Path) -> None:
    path = some_programs(tmp_path / "some", "rsync")
    program(tmp_path / "some" / "git", "echo git version 2.20.1")
    line = one_line(ready.sync("--push", code=2, env={"PATH": path}))
    assert "2.20.1" in line and "2.30" in line


@pytest.mark.parametrize("entry", ["", ".", "bin"])
def test_programs_of_the_repository_are_not_run(ready: Work, tmp_path: Path, entry: str) -> None:
    """PATH may name the current folder, and a repository may hold a file called git."""
    (ready.path / "bin").mkdir()
    for name in ("git", "rsync", "ssh"):
        for folder in (ready.path, ready.path / "bin"):
            program(folder / name, f"touch {tmp_path}/executed")
    path = f"{entry}:{os.environ['PATH']}"
    ready.sync("--push", env={"PATH": path})
    for own in ({}, {"GIT_SSH_COMMAND": "ssh -v"}):
        ready.sync("--push", f"ssh://127.0.0.1:{free_port()}/x", code=4, env={"PATH": path, **own})
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("lost", ["HEAD", "HEAD^{tree}", "HEAD:a.bin"])
def test_a_repository_that_is_damaged(ready: Work, lost: str) -> None:
    name = ready.git("rev-parse", lost).decode().strip()
    (ready.path / ".git" / "objects" / name[:2] / name[2:]).unlink()
    one_line(ready.sync("--push", code=1))


@pytest.mark.parametrize("what", ["file", "dangling", "linked folder"])
def test_a_local_store_that_is_none(ready: Work, tmp_path: Path, store: Path, what: str) -> None:
    put(store, b"abc")
    (tmp_path / "elsewhere").mkdir()
    content = ready.content
    shutil.rmtree(content)
    if what == "file":
        content.write_text("x")
    elif what == "dangling":
        content.symlink_to("nowhere")
    else:
        content.mkdir()
        (content / sha_of(b"abc")[:3]).symlink_to(tmp_path / "elsewhere")
    line = one_line(ready.sync("--pull", code=1))
    assert str(content) in line
    assert not list((tmp_path / "elsewhere").iterdir())


# Options


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--window=5x"], "5x"),
        (["--window", "5x"], "5x"),
        (["--window=-1"], "-1"),
        (["--window="], "age"),
        (["--complete", "--committed"], "exclude"),
        (["--checkout", "--window"], "exclude"),
        (["--complete", "--window", "3d"], "exclude"),
        (["--push", "--pull"], "exclude"),
        (["--checkout", "--push"], "--checkout"),
        (["--pull", "--offline"], "--offline"),
        (["--pull", "-z"], "-z"),
        (["--pull", "--recheck"], "--recheck"),
        (["--push", "--refetch"], "--refetch"),
        (["--push", "--no-expand"], "--no-expand"),
        (["--complete", "--ref", "main"], "--ref"),
        (["--complete", "--include", "x"], "--include"),
        (["--timeout", "0"], "--timeout"),
        (["--timeout", "soon"], "soon"),
        (["--timeout", "9" * 5000], "--timeout"),
        (["--bwlimit", "fast"], "fast"),
        (["--bwlimit=-1"], "-1"),
        (["--bwlimit", "0.1"], "0.1"),
        (["--bwlimit", "\u0663"], "bwlimit"),
        (["--bwlimit", "9" * 30 + "p"], "bwlimit"),
        (["--progress", "loud"], "loud"),
        (["--pus"], "--pus"),
        (["--frobnicate"], "--frobnicate"),
        (["one", "two"], "two"),
        (["--ref", "nowhere"], "nowhere"),
        (["--ref=--all"], "--all"),
        (["--ref", ""], "no commit"),
        (["--ref", "main:a.bin"], "main:a.bin"),
        (["--include", ":(nonsense)x"], "nonsense"),
        (["--exclude", ":(top"], ":(top"),
        (["--include", "../../outside"], "outside"),
        (["nowhere"], "nowhere"),
        ([""], ""),
        (["--push", "--", "-x"], "-x"),
        (["--push", "--", "-e/bin/sh:x"], "dash"),
        (["--push", "nas:"], "names no folder"),
        (["--push", "ssh://-oProxyCommand=x/y"], "ssh://"),
        (["--push", "root@-oProxyCommand=x:/y"], "host"),
        (["--push", "-oProxyCommand=x::m/y"], "-oProxyCommand"),
        (["--push", "rsync://nas"], "rsync://nas"),
        (["--push", "s3://bucket/x"], "s3://bucket/x"),
        (["--push", "https://nas/x"], "https://nas/x"),
        (["--push", "ssh://nas:0/x"], "port"),
        (["--push", "ssh://nas:99999/x"], "port"),
        (["--push", f"ssh://nas:{'9' * 5000}/x"], "port"),
        (["--push", "/a\nb"], "control characters"),
        (["--push", "nas:/a\x1b[31m"], "control characters"),
        (["--push", "nas:/a\x7f"], "control characters"),
        (["--push", "--foo\nbar\x1b[31m"], "--foo"),
        (["one", "two\nthree"], "two"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_wrong_usage(ready: Work, store: Path, arguments: list[str], words: str) -> None:
    line = one_line(ready.sync(*arguments, code=2))
    assert words in line
    assert line.isprintable()
    assert not store.exists(), "nothing was done"


# Configuration


def test_no_store_is_configured(tmp_path: Path) -> None:
    work = repository(tmp_path / "work", None, {"a.bin": b"abc"})
    line = one_line(work.sync("--push", code=2))
    assert "no remote has a store" in line and "gitlob-setup" in line
    work.git("config", "remote.origin.url", "https://example.org/x.git")
    assert "gitlob-setup" in one_line(work.sync("--push", "origin", code=2))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("remote.origin.git-lob-provider", "s3"),
        ("remote.origin.git-lob-path", ""),
        ("remote.origin.git-lob-path", "-e/bin/sh"),
        ("remote.origin.git-lob-path", "-x:/y"),
        ("remote.origin.git-lob-path", "nas:/a\nb"),
        ("remote.origin.git-lob-path", "nas:/a\x1b[2J"),
        ("remote.origin.git-lob-path", "s3://bucket/x"),
        ("git-lob.timeout", "0"),
        ("git-lob.timeout", "-5"),
        ("git-lob.timeout", "99999"),
        ("git-lob.timeout", "12\n13"),
        ("git-lob.timeout", "9" * 5000),
        ("git-lob.bwlimit", "fast"),
        ("git-lob.bwlimit", "1m --rsh=x"),
        ("git-lob.bwlimit", "1\n2"),
        ("git-lob.bwlimit", "0.1"),
        ("git-lob.bwlimit", "9" * 30 + "p"),
        ("git-lob.bwlimit", "1\u212a"),
        ("git-lob.timeout", "\u0663\u0660"),
        ("git-lob.fetch-refs", "\u0663d"),
        ("git-lob.fsync", "perhaps"),
        ("git-lob.fetch-refs", "-1"),
        ("git-lob.fetch-refs", "soon"),
        ("git-lob.fetch-commits-head", "1.5"),
        ("git-lob.fetch-commits-other", "7\n"),
    ],
    ids=lambda value: value[:20],
)
def test_a_value_out_of_range_is_named_with_its_key_and_file(ready: Work, tmp_path: Path, key: str, value: str) -> None:
    where = str(tmp_path / "store")
    ready.git("config", "remote.origin.git-lob-path", where)
    ready.git("config", key, value)
    line = one_line(ready.sync("--push", code=2))
    named = key
    assert named in line
    assert ".git/config" in line
    assert " ".join(value.split()).partition("\x1b")[0][:20] in line.replace("\\n", " ")
    assert line.isprintable()


def test_a_value_out_of_range_names_the_file_it_is_in(ready: Work, tmp_path: Path) -> None:
    (tmp_path / "home" / ".gitconfig").write_text("[git-lob]\n\ttimeout = never\n")
    assert str(tmp_path / "home" / ".gitconfig") in one_line(ready.sync("--push", code=2))
    (tmp_path / "home" / ".gitconfig").write_text("")
    (ready.path / ".gitlobconfig").write_text("[git-lob]\n\tfetch-refs = never\n")
    line = one_line(ready.sync("--pull", code=2))
    assert ".gitlobconfig" in line and "never" in line and "git-lob.fetch-refs" in line


@pytest.mark.parametrize("text", ["[broken\n", "\x00\x01", '[a]\n\tb = "open\n', '[remote "x"]\n\tgit-lob-provider\n'])
def test_a_tracked_file_that_is_broken(ready: Work, text: str) -> None:
    (ready.path / ".gitlobconfig").write_text(text)
    done = ready.sync("--push", code=None)
    assert done.returncode in (0, 2)
    if done.returncode:
        assert ".gitlobconfig" in one_line(done)


def test_a_provider_without_a_path(tmp_path: Path) -> None:
    work = repository(tmp_path / "work", None, {}, config='[remote "origin"]\n\tgit-lob-provider = rsync\n')
    assert "remote.origin.git-lob-path" in one_line(work.sync("--push", code=2))


@pytest.mark.parametrize("command", ["ssh 'open", 'ssh "', "", "  ", "/nowhere/ssh -x", "false"])
def test_an_ssh_command_that_is_none(tmp_path: Path, command: str) -> None:
    work = repository(tmp_path / "work", f"ssh://127.0.0.1:{free_port()}/x", {"a.bin": b"abc"})
    work.git("config", "core.sshCommand", command)
    done = work.sync("--push", code=None)
    one_line(done)
    assert done.returncode in (2, 4)


# The remote


def test_a_host_that_cannot_be_reached(ready: Work) -> None:
    for there in (f"ssh://127.0.0.1:{free_port()}/x", f"rsync://127.0.0.1:{free_port()}/m/x"):
        assert there in one_line(ready.sync("--push", there, code=4))
    assert "no-such-host" in one_line(ready.sync("--push", "no-such-host.invalid:/x", code=4))


def test_a_host_whose_key_is_unknown(ready: Work, sshd: Sshd, tmp_path: Path) -> None:
    """Nobody is asked whether it shall be trusted."""
    config = tmp_path / "config"
    config.write_text((sshd.folder / "config").read_text().replace("known_hosts", "none"))
    line = one_line(
        ready.sync("--push", sshd.location(tmp_path / "x"), code=4, env={"GIT_SSH_COMMAND": f"ssh -F {config}"})
    )
    assert "does not know the host's key" in line and "run ssh 127.0.0.1" in line


def test_a_key_that_is_not_let_in(ready: Work, sshd: Sshd, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "stranger"], check=True)
    config = tmp_path / "config"
    config.write_text((sshd.folder / "config").read_text().replace(f"{sshd.folder}/id", f"{tmp_path}/stranger"))
    line = one_line(
        ready.sync("--push", sshd.location(tmp_path / "x"), code=4, env={"GIT_SSH_COMMAND": f"ssh -F {config}"})
    )
    assert "ssh login refused" in line


def test_a_host_without_rsync(ready: Work, sshd: Sshd, tmp_path: Path) -> None:
    ssh = sshd.forced("PATH=/nowhere; eval $SSH_ORIGINAL_COMMAND")
    line = one_line(ready.sync("--push", sshd.location(tmp_path / "x"), code=2, env={"GIT_SSH_COMMAND": ssh}))
    assert "install rsync on the remote machine" in line


def test_a_host_whose_shell_greets(ready: Work, sshd: Sshd, tmp_path: Path) -> None:
    ssh = sshd.forced('echo "Welcome to this machine"; exec sh -c "$SSH_ORIGINAL_COMMAND"')
    one_line(ready.sync("--push", sshd.location(tmp_path / "x"), code=1, env={"GIT_SSH_COMMAND": ssh}))


@pytest.mark.parametrize("kind", ["path", "ssh", "daemon"])
@pytest.mark.parametrize("arguments", [["--pull"], ["--pull", "--complete"]], ids=" ".join)
def test_a_store_that_is_not_there_yet(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, arguments: list[str]
) -> None:
    place = make_place(kind, request)
    work = repository(tmp_path / "work", place.location, {"a.bin": b"abc"}, have=False)
    line = one_line(work.sync(*arguments, code=2))
    assert f"{place.location} does not exist" in line


@pytest.mark.parametrize("kind", ["path", "ssh", "daemon"])
def test_a_file_where_a_store_should_be(tmp_path: Path, request: pytest.FixtureRequest, kind: str) -> None:
    place = make_place(kind, request)
    place.folder.parent.mkdir(parents=True)
    place.folder.write_text("precious")
    work = repository(tmp_path / "work", place.location, {"a.bin": b"abc"})
    assert place.location in one_line(work.sync("--push", code=2))
    shutil.rmtree(work.content)
    done = work.sync("--pull", code=None)
    assert place.location in one_line(done)
    assert done.returncode in (1, 2)
    assert place.folder.read_text() == "precious"


def test_a_folder_that_is_no_store(tmp_path: Path, store: Path) -> None:
    (store / "photos").mkdir(parents=True)
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"}, have=False)
    said = work.sync("--pull", code=3)
    assert "is this the right location?" in said.stderr


@pytest.mark.parametrize("location", ["{}nowhere/x", "{}readonly/x"])
def test_a_module_that_is_not_there_or_cannot_be_written(ready: Work, rsyncd: Daemon, location: str) -> None:
    there = location.format(f"rsync://127.0.0.1:{rsyncd.port}/")
    line = one_line(ready.sync("--push", there, code=2))
    assert there in line
    assert "Unknown module" in line or "read only" in line
    assert not list(rsyncd.folder.iterdir())


# Permissions


@pytest.fixture(params=["path", "ssh"])
def guarded(request: pytest.FixtureRequest, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place at which the far side minds the permissions of files; this side has to be told to, by UNPRIVILEGED."""
    place = make_place(request.param, request)
    if request.param == "ssh":
        ssh = sshd.forced(f'exec {" ".join(UNPRIVILEGED)} sh -c "$SSH_ORIGINAL_COMMAND"')
        monkeypatch.setenv("GIT_SSH_COMMAND", ssh)
    return place


@pytest.mark.parametrize("what", ["store", "above"])
def test_a_store_that_may_not_be_written(tmp_path: Path, guarded: Place, what: str) -> None:
    guarded.folder.parent.mkdir(parents=True)
    if what == "store":
        guarded.folder.mkdir()
    work = repository(tmp_path / "work", guarded.location, {"a.bin": b"abc"})
    closed = guarded.folder if what == "store" else guarded.folder.parent
    line = one_line(locked(closed, 0o555, lambda: work.run(*UNPRIVILEGED, "gitlob-sync", "--push", code=1)))
    assert f"{guarded.location}: permission denied" in line


@pytest.mark.parametrize("arguments", [["--pull"], ["--push", "--complete"]], ids=" ".join)
def test_a_store_that_may_not_be_read(tmp_path: Path, guarded: Place, arguments: list[str]) -> None:
    put(guarded.folder, b"abc")
    work = repository(tmp_path / "work", guarded.location, {"a.bin": b"abc"}, have="--push" in arguments)
    line = one_line(locked(guarded.folder, 0, lambda: work.run(*UNPRIVILEGED, "gitlob-sync", *arguments, code=1)))
    assert f"{guarded.location}: permission denied" in line


def test_a_binary_that_may_not_be_read_does_not_keep_the_rest(tmp_path: Path, guarded: Place) -> None:
    put(guarded.folder, b"abc")
    put(guarded.folder, b"good")
    work = repository(tmp_path / "work", guarded.location, {"a.bin": b"abc", "good.bin": b"good"}, have=False)
    closed = chunk(guarded.folder, b"abc").parent
    said = locked(closed, 0, lambda: work.run(*UNPRIVILEGED, "gitlob-sync", "--pull", code=3))
    assert check(work.content) == {sha_of(b"good")}
    assert "Permission denied" in said.stderr and sha_of(b"abc") in said.stderr


def test_a_repository_that_may_not_be_written(tmp_path: Path, store: Path) -> None:
    put(store, b"abc")
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"}, have=False)
    git_dir = work.path / ".git"
    line = one_line(locked(git_dir, 0o555, lambda: work.run(*UNPRIVILEGED, "gitlob-sync", "--pull", code=1)))
    assert "Permission denied" in line and str(git_dir) in line


def test_a_folder_of_the_working_tree_that_may_not_be_written(tmp_path: Path, store: Path) -> None:
    put(store, b"abc")
    work = repository(tmp_path / "work", store, {"deep/a.bin": b"abc"}, have=False)
    work.git("config", "filter.lob.process", "gitlob-filter process")
    (work.path / ".git" / "info").mkdir(exist_ok=True)
    (work.path / ".git" / "info" / "attributes").write_text("*.bin filter=lob\n")
    work.git("-c", "git-lob.autofetch=false", "reset", "-q", "--hard")
    deep = work.path / "deep"
    line = one_line(locked(deep, 0o555, lambda: work.run(*UNPRIVILEGED, "gitlob-sync", "--checkout", code=1)))
    assert f"{deep}/a.bin: may not be written: Permission denied (fix the permissions" in line
    assert work.read("deep/a.bin") == placeholder(b"abc")
    work.sync("--checkout")
    assert work.read("deep/a.bin") == b"abc"


def test_a_local_binary_that_may_not_be_read(tmp_path: Path, store: Path) -> None:
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"})
    at = chunk(work.content, b"abc")
    work.run("gitlob-setup", "-q", "origin", "--create")
    line = one_line(locked(at, 0, lambda: work.run(*UNPRIVILEGED, "gitlob-sync", "--push", code=1)))
    assert "Permission denied" in line and str(at) in line
    assert not store.exists() or not shas_in(store)


def test_a_shared_store_that_may_not_be_written_is_no_reason_to_stop(tmp_path: Path, store: Path) -> None:
    """It is a cache for others: what came belongs into the local store all the same."""
    contents = {"a.bin": b"abc", "b.bin": b"def", "c.bin": b"ghi"}
    for content in contents.values():
        put(store, content)
    shared = tmp_path / "shared"
    shared.mkdir()
    config = f"[git-lob]\n\tsharedstore = {shared}\n"
    work = repository(tmp_path / "work", store, contents, have=False, config=config)
    said = locked(shared, 0o555, lambda: work.run(*UNPRIVILEGED, "gitlob-sync", "--pull", code=None))
    assert check(work.content) == check(store)
    assert said.returncode in (0, 1)
