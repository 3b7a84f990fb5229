"""git at work with the filter: clones, checkouts, merges of every kind; what cannot be had; kills; who calls rsync."""

import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitlob_rsync.jobs.setup import FILTER
from tests.support.handmade import CHUNK, check, drop, placeholder, put, sha_of, shas_in
from tests.support.servers import Sshd, free_port
from tests.support.shims import put_rsync
from tests.support.work import Work

ATTRIBUTES = b"*.bin filter=lob -text\n"
ONE, TWO, THREE, BEE = b"one" * 1000, b"two" * 1000, b"three" * 1000, b"bee" * 1000
STATUS = ("status", "--porcelain", "--untracked-files=all")


@pytest.fixture(autouse=True)
def everywhere(isolated: None) -> None:
    """The filter is configured for all repositories, as gitlob-setup does it for one."""
    for key, value in FILTER.items():
        subprocess.run(["git", "config", "--global", key, value], check=True)


# Repositories


def publish(path: Path, store: Path, *commits: dict[str | bytes, bytes], attributes: bytes = ATTRIBUTES) -> Work:
    """A repository with these commits on main, each given by what it changes, and with their binaries in a store alone.

    What ends in .bin, or lies in assets/, becomes a binary.
    """
    subprocess.run(["git", "init", "-q", "-b", "main", path], check=True)
    work = Work(path)
    for number, files in enumerate(commits):
        extend(work, store, {**({".gitattributes": attributes} if number == 0 else {}), **files})
    return work


def extend(work: Work, store: Path, files: dict[str | bytes, bytes], branch: str = "main", start: str = "") -> str:
    """One commit more, past the working tree and the filter; returns it."""
    ref = f"refs/heads/{branch}"
    start = start or (ref if work.git("for-each-ref", ref) else "")
    lines = [b"commit %s\ncommitter C <c@example.org> %d +0000\ndata 1\nx\n" % (ref.encode(), int(time.time()) - 60)]
    if start:
        lines.append(b"from " + work.git("rev-parse", start))
    for name, content in files.items():
        path = os.fsencode(name)
        if path.endswith(b".bin") or path.startswith(b"assets/"):
            put(store, content)
            content = placeholder(content)
        quoted = path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
        lines.append(b'M 100644 inline "%s"\ndata %d\n%s\n' % (quoted, len(content), content))
    work.git("fast-import", "--quiet", "--force", input=b"".join(lines))
    return work.git("rev-parse", ref).decode().strip()


def said(folder: Path, *args: str, code: int = 0) -> str:
    """What a git command says on stderr."""
    done = subprocess.run(["git", *args], cwd=folder, capture_output=True, stdin=subprocess.DEVNULL, timeout=120)
    text = done.stderr.decode(errors="replace")
    assert done.returncode == code, f"git {args}: {done.returncode}\n{text}"
    return text


def take(origin: Work, path: Path, location: object, *args: str) -> Work:
    """A clone by a git that knows where the store is; nothing may go wrong with it."""
    at = ("-c", f"remote.origin.git-lob-path={location}") if location else ()
    assert said(path.parent, "clone", "-q", *at, *args, str(origin.path), str(path)) == ""
    return Work(path)


def shell(work: Work, script: str) -> str:
    """Run a script in a repository; returns its stdout."""
    done = subprocess.run(
        ["sh", "-ec", script], cwd=work.path, capture_output=True, stdin=subprocess.DEVNULL, timeout=120
    )
    assert done.returncode == 0, f"{script}: {done.returncode}\n{done.stderr.decode()}"
    assert b"gitlob-filter" not in done.stderr, done.stderr.decode()
    return done.stdout.decode()


def forget(work: Work) -> None:
    """Have no binary here: all are at the remote alone."""
    shutil.rmtree(work.content, ignore_errors=True)


def is_clean(work: Work) -> bool:
    return work.git(*STATUS) == b""


@dataclass(frozen=True)
class Rsync:
    """A script in rsync's place that keeps the list of names of each run that has one: a look at which store it is has
    none, but counts where it fails."""

    folder: Path

    @property
    def runs(self) -> list[set[str]]:
        """The names, as in a store, that each run since the last `forget` was given."""
        lists = sorted(self.folder.glob("names.*"), key=lambda at: at.stat().st_mtime_ns)
        return [{name.decode().replace("/./", "/") for name in at.read_bytes().split(b"\0")[:-1]} for at in lists]

    def forget(self) -> None:
        for at in self.folder.glob("names.*"):
            at.unlink()

    def refuse(self) -> None:
        """Fail from now on, as if nobody answered."""
        (self.folder / "refuse").touch()


@pytest.fixture
def rsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rsync:
    folder = tmp_path / "shim"
    script = (
        '[ "$1" = --version ] && exec REAL --version\n'
        f"[ -e {folder}/refuse ] && echo 'nobody answers' >&2 && : >{folder}/names.refused$$ && exit 10\n"
        f'case "$*" in *--files-from*) ;; *) REAL "$@" && exit; code=$?; : >{folder}/names.failed$$; exit $code ;; esac\n'
        f"names={folder}/names.$$ && cat >$names || exit 1\n"
        'exec REAL "$@" <$names\n'
    )
    return Rsync(put_rsync(folder, script, monkeypatch))


@pytest.fixture
def origin(tmp_path: Path, store: Path) -> Work:
    """Three versions of a.bin, one b.bin and a text."""
    return publish(
        tmp_path / "origin",
        store,
        {"a.bin": ONE, "b.bin": BEE, "text": b"text\n"},
        {"a.bin": TWO, "text": b"text\nmore\n"},
        {"a.bin": THREE},
    )


@pytest.fixture
def work(origin: Work, tmp_path: Path, store: Path) -> Work:
    """Its clone: the binaries of the last commit are here, those of the others at the remote alone."""
    work = take(origin, tmp_path / "work", store, "--no-checkout")
    for content in (THREE, BEE):
        put(work.content, content)
    work.git("checkout", "-q", "main")
    return work


# Download at checkout


@pytest.mark.parametrize("kind", ["path", "ssh"])
def test_a_clone_brings_all_binaries_in_one_transfer(
    tmp_path: Path,
    store: Path,
    rsync: Rsync,
    kind: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    location = str(store)
    if kind == "ssh":
        sshd: Sshd = request.getfixturevalue("sshd")
        location = sshd.location(store)
        monkeypatch.setenv("GIT_SSH_COMMAND", sshd.command)
    files: dict[str | bytes, bytes] = {f"d{n % 7}/{n}.bin": b"%d" % n * 500 for n in range(58)}
    files |= {"same.bin": files["d0/0.bin"], "large.bin": bytes(range(256)) * (CHUNK // 256) + b"tail"}
    origin = publish(tmp_path / "origin", store, files)
    work = take(origin, tmp_path / "work", location)
    assert len(rsync.runs) <= 2
    assert all(work.read(path) == content for path, content in files.items())
    assert is_clean(work)
    assert check(work.content) == check(store) and len(check(store)) == 59
    assert not work.staging and not list(Path(os.environ["TMPDIR"]).glob("gitlob-*")), "nothing is left of the transfer"


def test_a_switch_brings_what_is_not_here_and_no_more(work: Work, rsync: Rsync) -> None:
    assert said(work.path, "checkout", "-q", "HEAD~2") == ""
    (run,) = rsync.runs
    assert {name[8:48] for name in run} == {sha_of(ONE)}
    assert work.read("a.bin") == ONE and is_clean(work)
    work.git("checkout", "-q", "main")
    work.git("checkout", "-q", "HEAD~2")
    assert len(rsync.runs) == 1, "now it is here"


def test_a_pull_brings_what_the_others_did(origin: Work, work: Work, store: Path, rsync: Rsync) -> None:
    extend(origin, store, {"a.bin": b"theirs", "new/c.bin": b"new"})
    assert said(work.path, "pull", "-q") == ""
    assert (work.read("a.bin"), work.read("new/c.bin")) == (b"theirs", b"new")
    assert len(rsync.runs) == 1 and is_clean(work)


@pytest.mark.parametrize(
    "args",
    [
        ("--depth", "1", "--no-local"),
        ("--separate-git-dir", "elsewhere"),
        ("--origin", "upstream", "-c", "remote.upstream.git-lob-path=STORE"),
    ],
    ids=" ".join,
)
def test_a_clone_in_other_forms(origin: Work, tmp_path: Path, store: Path, args: tuple[str, ...]) -> None:
    named = any("STORE" in arg for arg in args)
    args = tuple(arg.replace("STORE", str(store)) for arg in args)
    work = take(origin, tmp_path / "work", None if named else store, *args)
    assert (work.read("a.bin"), work.read("b.bin")) == (THREE, BEE) and is_clean(work)


def test_a_relative_location_counts_from_the_working_tree(origin: Work, tmp_path: Path, rsync: Rsync) -> None:
    """At clone, too, when git itself stands elsewhere; as it does for gitlob-sync afterwards."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    work = take(origin, tmp_path / "deep" / "er" / "work", "../../../remote/store")
    assert work.read("a.bin") == THREE
    forget(work)
    work.sync("--pull")
    assert work.git("checkout", "-q", "HEAD~1") == b"" and work.read("a.bin") == TWO


def test_git_from_elsewhere_with_git_dir_and_work_tree(work: Work, tmp_path: Path) -> None:
    work.git("config", "remote.origin.git-lob-path", "../remote/store")
    assert said(tmp_path, "--git-dir=work/.git", "--work-tree=work", "checkout", "-q", "-f", "HEAD~1") == ""
    assert work.read("a.bin") == TWO
    (work.path / "sub").mkdir()
    assert said(work.path / "sub", "checkout", "-q", "HEAD~1") == ""
    assert work.read("a.bin") == ONE and is_clean(work)


def test_paths_that_git_itself_would_quote(tmp_path: Path, store: Path) -> None:
    names = [b"new\nline", b"end\n", b"end", b' " \\', b"-x", b"latin\xe9", b"equals=1", "ü".encode(), b" lead"]
    files: dict[str | bytes, bytes] = {b"assets/" + name: b"content of " + name for name in names}
    origin = publish(tmp_path / "origin", store, files, attributes=b"assets/* filter=lob -text\n")
    work = take(origin, tmp_path / "work", store)
    assert {path: work.read(path) for path in files} == files
    assert is_clean(work)


def test_the_teams_file_names_the_store(tmp_path: Path, store: Path) -> None:
    """Nothing was configured by hand: also when .gitlobconfig is only being checked out itself."""
    team = f'[remote "origin"]\n\tgit-lob-path = {store}\n'.encode()
    origin = publish(tmp_path / "origin", store, {"-before.bin": ONE, ".gitlobconfig": team, "z.bin": TWO})
    work = take(origin, tmp_path / "work", None)
    assert (work.read("-before.bin"), work.read("z.bin")) == (ONE, TWO)


def test_a_second_clone_takes_from_the_shared_store(
    origin: Work, work: Work, tmp_path: Path, store: Path, rsync: Rsync
) -> None:
    shared = tmp_path / "shared"
    subprocess.run(["git", "config", "--global", "git-lob.sharedstore", str(shared)], check=True)
    take(origin, tmp_path / "first", store)
    rsync.forget()
    second = take(origin, tmp_path / "second", store)
    assert not rsync.runs
    assert second.read("a.bin") == THREE and check(shared) == check(second.content)
    assert {at.stat().st_nlink for at in second.content.glob("???/???/*")} == {3}


# What cannot be had

WRONG = ["unreachable", "there is no such folder", "lacks one", "damaged", "no store configured", "autofetch=false"]


@dataclass(frozen=True)
class Trouble:
    """A reason for which a.bin, or all three binaries, cannot be had; `mend` does away with it."""

    config: tuple[str, ...]
    waiting: int
    attempts: int
    mend: Callable[[Work], object]


def trouble(kind: str, store: Path, tmp_path: Path) -> Trouble:
    path = f"remote.origin.git-lob-path={store}"
    (chunk,) = store.rglob(f"{sha_of(THREE)}_0")
    if kind == "unreachable":
        nowhere = f"ssh://127.0.0.1:{free_port()}{store}"
        return Trouble(
            (f"remote.origin.git-lob-path={nowhere}",),
            3,
            1,
            lambda work: work.run("gitlob-setup", "origin", str(store)),
        )
    if kind == "there is no such folder":
        store.rename(tmp_path / "away")
        return Trouble((path,), 3, 1, lambda _: (tmp_path / "away").rename(store))
    if kind == "lacks one":
        drop(store, THREE)
        return Trouble((path,), 1, 1, lambda _: put(store, THREE))
    if kind == "damaged":
        chunk.write_bytes(THREE[:-1] + b"X")
        return Trouble((path,), 1, 1, lambda _: put(store, THREE))
    if kind == "no store configured":
        return Trouble((), 3, 0, lambda work: work.run("gitlob-setup", "origin", str(store)))
    return Trouble((path, "git-lob.autofetch=false"), 3, 0, lambda _: None)


def clone_args(wrong: Trouble, origin: Work) -> list[str]:
    return ["clone", "-q", *(word for pair in wrong.config for word in ("-c", pair)), str(origin.path), "work"]


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_had_waits(tmp_path: Path, origin: Work, store: Path, rsync: Rsync, kind: str) -> None:
    extend(origin, store, {"c/c.bin": b"c"})
    wrong = trouble(kind, store, tmp_path)
    warning = said(tmp_path, *clone_args(wrong, origin))
    work = Work(tmp_path / "work")
    assert warning.startswith("gitlob-filter: ") and warning.count("\n") == 1, warning
    assert ("1 file waits" if wrong.waiting == 1 else "3 files wait") in warning
    assert "gitlob-sync --checkout" in warning
    assert len(rsync.runs) == wrong.attempts
    there = wrong.waiting == 1
    assert work.read("a.bin") == placeholder(THREE)
    assert work.read("b.bin") == (BEE if there else placeholder(BEE))
    assert work.read("c/c.bin") == (b"c" if there else placeholder(b"c"))
    assert is_clean(work)
    assert sha_of(THREE) not in check(work.content)
    wrong.mend(work)
    work.sync("--checkout")
    assert (work.read("a.bin"), work.read("b.bin"), work.read("c/c.bin")) == (THREE, BEE, b"c")
    assert is_clean(work)


@pytest.mark.parametrize("kind", ["unreachable", "lacks one", "no store configured"])
def test_what_cannot_be_had_fails_where_that_is_wanted(
    tmp_path: Path, origin: Work, store: Path, rsync: Rsync, kind: str
) -> None:
    subprocess.run(["git", "config", "--global", "git-lob.on-missing", "fail"], check=True)
    wrong = trouble(kind, store, tmp_path)
    text = said(tmp_path, *clone_args(wrong, origin), code=128)
    work = Work(tmp_path / "work")
    ours = [line for line in text.splitlines() if line.startswith("gitlob-filter: ")]
    assert len(ours) == 1 and "gitlob-sync --checkout" in ours[0], text
    assert ".bin: smudge filter lob failed" in text
    assert len(rsync.runs) == wrong.attempts
    assert not [at for at in work.path.glob("*.bin") if at.read_bytes().startswith(b"git-lob: ")]
    wrong.mend(work)
    work.git("config", "git-lob.autofetch", "true")
    assert said(work.path, "restore", "--source=HEAD", "--staged", "--worktree", ":/") == ""
    assert work.read("a.bin") == THREE and is_clean(work)


def test_a_failed_switch_leaves_the_branch_where_it_was(work: Work, store: Path) -> None:
    work.git("config", "git-lob.on-missing", "fail")
    drop(store, TWO)
    before = work.git("rev-parse", "HEAD")
    text = said(work.path, "checkout", "-q", "HEAD~1", code=128)
    assert "a.bin: smudge filter lob failed" in text and "1 file waits" in text
    assert work.git("rev-parse", "HEAD") == before
    assert said(work.path, "reset", "-q", "--hard") == ""
    assert work.read("a.bin") == THREE and is_clean(work)


def test_a_wrong_setting_does_not_undo_that_a_missing_binary_is_an_error(work: Work) -> None:
    """It may come from a tracked file."""
    work.git("config", "git-lob.on-missing", "fail")
    work.write(".gitlobconfig", b"[broken\n")
    text = said(work.path, "checkout", "-q", "HEAD~1", code=128)
    assert ".gitlobconfig" in text and "1 file waits" in text


def test_a_store_that_cannot_be_written_is_no_reason_to_stop_a_checkout(work: Work, tmp_path: Path) -> None:
    """As a full disk is none: the files wait."""
    (work.content.parent / "staging").write_bytes(b"a file in its place")
    text = said(work.path, "checkout", "-q", "HEAD~1")
    assert text.startswith("gitlob-filter: 1 file waits") and text.count("\n") == 1
    assert work.read("a.bin") == placeholder(TWO) and is_clean(work)


def test_an_unreachable_host_costs_one_attempt_also_without_delay(work: Work, rsync: Rsync) -> None:
    """git archive delays nothing."""
    forget(work)
    rsync.refuse()
    assert "2 files wait" in said(work.path, "archive", "-o", "../a.tar", "HEAD")
    assert len(rsync.runs) == 1


def test_placeholders_that_wait_are_no_change(tmp_path: Path, origin: Work, store: Path) -> None:
    """They are committed, stashed and merged as what they stand for."""
    subprocess.run(["git", "config", "--global", "git-lob.autofetch", "false"], check=True)
    said(tmp_path, "clone", "-q", str(origin.path), "work")
    work = Work(tmp_path / "work")
    before = work.git("rev-parse", "HEAD:a.bin")
    work.write("text", b"changed\n")
    work.git("stash", "-q")
    work.git("stash", "pop", "-q")
    os.utime(work.path / "a.bin")
    work.git("commit", "-qam", "text")
    work.git("add", "-A")
    assert is_clean(work)
    assert work.git("rev-parse", "HEAD:a.bin") == before
    assert not shas_in(work.content)


# Interrupted

MANY: dict[str | bytes, bytes] = {f"{n}.bin": bytes([n]) * 32768 for n in range(40)}
RATE = "100"
"""KiB a second: 13 seconds for all of it."""


def running(tmp_path: Path) -> dict[int, str]:
    """What runs in a folder of this test: pid -> command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                here = Path(os.readlink(entry / "cwd")).is_relative_to(tmp_path)
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if here and words:
                found[int(entry.name)] = words
    return found


def wait_until(happened: Callable[[], object], what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"this did not happen in {seconds} seconds: {what}"
        time.sleep(0.02)


def arrived(work: Work) -> set[str]:
    """The names of the whole files that wait in staging folders."""
    files = [at for folder in work.staging for at in folder.rglob("*_*") if at.parent.name != "partial"]
    return {at.name for at in files if len(at.name.partition("_")[0]) == 40}


@dataclass(frozen=True)
class Checkout:
    """A slow `git checkout` of forty binaries, of which three at least have come."""

    work: Work
    git: "subprocess.Popen[bytes]"
    log: Path

    def strike(self, victim: str) -> None:
        """Kill a part of it."""
        if victim == "git":
            self.git.kill()
        elif victim == "git, by SIGTERM":
            self.git.terminate()
        elif victim == "all, by SIGINT":
            os.killpg(self.git.pid, signal.SIGINT)
        else:
            words = "gitlob-filter process" if victim == "the filter" else "rsync --files-from"
            found = {pid: line for pid, line in running(self.work.path).items() if words in line}
            os.kill(min(pid for pid, line in found.items() if "sh -c" not in line), signal.SIGKILL)
        self.git.wait(20)


@pytest.fixture
def slow(tmp_path: Path, store: Path) -> Iterator[Checkout]:
    origin = publish(tmp_path / "origin", store, MANY)
    said(tmp_path, "clone", "-q", "-c", "git-lob.autofetch=false", str(origin.path), "work")
    work = Work(tmp_path / "work")
    with (work.path / ".git" / "config").open("a") as file:
        file.write(
            f'[git-lob]\n\tautofetch = true\n\tbwlimit = {RATE}\n\tretries = 0\n[remote "origin"]\n\tgit-lob-path = {store}\n'
        )
    for name in MANY:
        (work.path / os.fsdecode(name)).unlink()
    log = tmp_path / "stderr"
    with log.open("wb") as stderr:
        git = subprocess.Popen(
            ["git", "checkout", "-q", "--", "."], cwd=work.path, start_new_session=True, stderr=stderr
        )
    wait_until(lambda: len([name for name in arrived(work) if name.endswith("_0")]) >= 3, "three binaries arrive")
    assert git.poll() is None, "it was too quick for this test"
    yield Checkout(work, git, log)
    for pid in running(tmp_path):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    git.wait()


def everything_ended(slow: Checkout) -> bool:
    return not running(slow.work.path)


@pytest.mark.parametrize("victim", ["the filter", "git", "rsync", "all, by SIGINT"])
def test_the_next_run_takes_up_an_interrupted_checkout(slow: Checkout, store: Path, rsync: Rsync, victim: str) -> None:
    """Nothing wrong is there, whatever was killed, and what had come is not sent again."""
    work = slow.work
    names = arrived(work)
    had = {name[:40] for name in names}
    slow.strike(victim)
    if victim == "rsync":
        stderr = slow.log.read_text()
        assert slow.git.returncode == 0
        assert stderr.startswith("gitlob-filter: ") and stderr.count("\n") == 1 and "gitlob-sync --checkout" in stderr
    else:
        assert slow.git.returncode != 0
    if victim != "the filter":  # the next run does not wait for what that left
        wait_until(lambda: everything_ended(slow), "everything that was started ends")
    check(work.content)
    here = [path for path in MANY if os.path.lexists(work.path / os.fsdecode(path))]
    assert all(work.read(path) in (MANY[path], placeholder(MANY[path])) for path in here)
    lock = work.path / ".git" / "index.lock"
    assert not lock.exists() or victim == "git"
    lock.unlink(missing_ok=True)
    work.git("config", "--unset", "git-lob.bwlimit")
    rsync.forget()
    if victim in ("the filter", "git", "all, by SIGINT"):
        assert said(work.path, "checkout", "-q", "--", ".") == ""
    else:
        work.sync("--checkout", "--restore-missing")
    assert {path: work.read(path) for path in MANY} == MANY
    assert is_clean(work)
    assert check(work.content) == check(store)
    (run,) = rsync.runs
    assert had and not {name[8:48] for name in run} & had, "what had come is not sent again"


@pytest.mark.parametrize("victim", ["the filter", "git, by SIGTERM"])
def test_nothing_outlives_an_interrupted_checkout_for_long(slow: Checkout, victim: str) -> None:
    """The download would take ten seconds more, or all night."""
    slow.strike(victim)
    wait_until(lambda: everything_ended(slow), "everything that was started ends")
    check(slow.work.content)


# No network


def test_work_on_what_is_here_calls_nobody(origin: Work, work: Work, store: Path, rsync: Rsync) -> None:
    extend(origin, store, {"a.bin": b"topic", "t.bin": b"t"}, branch="topic", start="main~1")
    work.git("fetch", "-q")
    work.sync("--pull", "--committed")
    assert rsync.runs
    rsync.forget()
    rsync.refuse()
    work.git("config", "remote.origin.git-lob-path", "/nonexistent")
    shell(
        work,
        """
        git checkout -q topic; git checkout -q -b side main~1; git status
        echo c >c.bin; git add c.bin; git diff --cached; git commit -qm c
        echo edited >a.bin; echo u >u.bin; git diff HEAD~1
        git stash push -q -u; git stash show -p; git stash pop -q; git commit -qam edited
        git checkout -q -b merged HEAD~2; git merge -q --no-edit topic~1 main
        git archive HEAD~1 >/dev/null
        git log -p --all; git log --stat -m --all; git diff main topic; git blame a.bin; git grep -a one a.bin || :
        git rm -q b.bin; git reset -q; git restore b.bin; git clean -qfd; git gc -q
        """,
    )
    assert not rsync.runs
    assert (work.read("a.bin"), work.read("b.bin")) == (THREE, BEE) and is_clean(work)


def test_work_around_placeholders_calls_nobody(tmp_path: Path, origin: Work, store: Path, rsync: Rsync) -> None:
    """They could be downloaded, but no checkout asks for them."""
    said(tmp_path, "clone", "-q", "-c", "git-lob.autofetch=false", str(origin.path), "work")
    work = Work(tmp_path / "work")
    work.git("config", "git-lob.autofetch", "true")
    work.git("config", "remote.origin.git-lob-path", str(store))
    shell(
        work,
        "touch a.bin; git status; git diff; git diff HEAD~1; echo x >>text; git stash -q; git stash pop -q;"
        "echo y >y.bin; git add -A; git commit -qm x; git log -p; git show; git mv a.bin z.bin; git commit -qm mv",
    )
    assert not rsync.runs
    assert work.read("z.bin") == placeholder(THREE) and is_clean(work)


# Every way to work


@pytest.mark.parametrize(
    ("script", "path", "content"),
    [
        ("rm -r .git/git-lob a.bin; git checkout -q -- a.bin", "a.bin", THREE),
        ("rm -r .git/git-lob; echo x >a.bin; git restore a.bin", "a.bin", THREE),
        ("git checkout -q HEAD~1 -- a.bin", "a.bin", TWO),
        ("git restore --source=HEAD~2 a.bin", "a.bin", ONE),
        ("git reset -q --hard HEAD~2", "a.bin", ONE),
        ("git revert --no-edit HEAD HEAD~1", "a.bin", ONE),
        ("git checkout -q -b side HEAD~2; git cherry-pick main~1 main", "a.bin", THREE),
        ("echo x >a.bin; git stash -q; git checkout -q HEAD~1; git checkout -q -; git stash pop -q", "a.bin", b"x\n"),
        ("git checkout -q HEAD~1 -- a.bin; git stash -q; rm -r .git/git-lob; git stash pop -q --index", "a.bin", TWO),
        ("git rm -q a.bin; git commit -qm rm; rm -r .git/git-lob; git checkout -q HEAD~1", "a.bin", THREE),
        ("git mv a.bin z.bin; git commit -qm mv; rm -r .git/git-lob; git checkout -q HEAD~1", "a.bin", THREE),
        ("echo x >x.bin; git clean -fdxq; ! test -e x.bin", "a.bin", THREE),
        ("git checkout-index --prefix=../out/ a.bin", "../out/a.bin", THREE),
        ("git cat-file --filters HEAD~1:a.bin >../out", "../out", TWO),
        ("git format-patch --stdout HEAD~2 >../p; git reset -q --hard HEAD~2; git am -q ../p", "a.bin", THREE),
        ("git -c checkout.workers=4 -c checkout.thresholdForParallelism=1 checkout -q HEAD~2", "a.bin", ONE),
    ],
)
def test_a_file_has_its_content_after(work: Work, script: str, path: str, content: bytes) -> None:
    """Versions other than the last are at the remote alone, and that one too where the script removes .git/git-lob.

    What git says of it agrees with what is in it.
    """
    shell(work, script)
    assert work.read(path) == content
    staged = work.git("show", ":a.bin") == placeholder(work.read("a.bin"))
    work.git("diff", "--quiet", "--", code=0 if staged else 1)


def test_commits_hold_placeholders_and_the_store_the_content(work: Work) -> None:
    """Whatever command makes them."""
    before = work.git("rev-parse", "HEAD:a.bin")
    assert work.git("hash-object", "a.bin") == before
    work.write("a.bin", b"with -a")
    work.git("commit", "-qam", "-a")
    work.write("empty.bin", b"")
    work.write("deep/er/c.bin", b"deep")
    work.git("add", "deep", "empty.bin")
    work.git("commit", "-qm", "add")
    work.write("b.bin", b"only")
    work.write("a.bin", b"not this")
    work.git("commit", "-qm", "only", "--only", "b.bin")
    work.git("stash", "-q", "-u")
    assert work.git("show", "stash@{0}:a.bin") == placeholder(b"not this")
    expected = {"a.bin": b"with -a", "b.bin": b"only", "empty.bin": b"", "deep/er/c.bin": b"deep"}
    for path, content in expected.items():
        assert work.git("show", f"HEAD:{path}") == placeholder(content)
        assert work.read(path) == content
    assert is_clean(work)
    assert check(work.content) >= {sha_of(content) for content in [*expected.values(), b"not this", THREE]}
    diff = work.git("diff", "HEAD~3", "HEAD", "--", "a.bin")
    assert b"-" + placeholder(THREE) in diff and b"+" + placeholder(b"with -a") in diff


def test_stash_with_untracked_binaries(work: Work) -> None:
    work.write("a.bin", b"edited")
    work.write("u.bin", b"untracked")
    work.git("stash", "-q", "-u")
    assert is_clean(work) and work.read("a.bin") == THREE
    assert work.git("show", "stash@{0}^3:u.bin") == placeholder(b"untracked")
    work.git("stash", "pop", "-q")
    assert (work.read("a.bin"), work.read("u.bin")) == (b"edited", b"untracked")


def test_a_rebase_over_commits_that_change_the_same_binary(origin: Work, work: Work, store: Path, rsync: Rsync) -> None:
    """git keeps one filter for all picks, and the same path is delayed in each of them."""
    start = "main~1"
    for number in range(4):
        extend(origin, store, {"t.bin": b"topic %d" % number, f"t{number}.bin": b"t%d" % number}, "topic", start)
        start = ""
    work.git("fetch", "-q")
    work.git("-c", "git-lob.autofetch=false", "checkout", "-q", "topic")
    rsync.forget()
    assert "gitlob" not in said(work.path, "rebase", "main")
    assert work.read("a.bin") == THREE
    assert [work.read(f"t{number}.bin") for number in range(4)] == [b"t%d" % number for number in range(4)]
    assert work.read("t.bin") == b"topic 3"
    assert work.git("rev-list", "--count", "main..topic") == b"4\n"
    assert is_clean(work) and len(rsync.runs) == 4


def test_bisect_brings_what_each_step_needs(tmp_path: Path, store: Path) -> None:
    versions: list[dict[str | bytes, bytes]] = [
        {"a.bin": b"%d %s" % (n, b"bad" if n > 8 else b"good")} for n in range(13)
    ]
    work = take(publish(tmp_path / "origin", store, *versions), tmp_path / "work", store)
    out = shell(work, "git bisect start HEAD HEAD~12; git bisect run grep -q good a.bin")
    assert "is the first bad commit" in out
    assert work.git("show", "bisect/bad:a.bin") == placeholder(b"9 bad")
    assert 3 < len(check(work.content)) < 9, "of the thirteen, those that were looked at"
    work.git("bisect", "reset")
    assert work.read("a.bin") == b"12 bad"


@pytest.mark.parametrize("attributes", [ATTRIBUTES, b"*.bin filter=lob binary\n"])
def test_a_conflict_loses_no_binary(tmp_path: Path, store: Path, attributes: bytes) -> None:
    """Without `binary` git merges the two placeholders as text, and both are named in the file."""
    origin = publish(tmp_path / "origin", store, {"a.bin": b"base", "c.bin": b"c"}, attributes=attributes)
    extend(origin, store, {"a.bin": b"theirs", "c.bin": b"their c"}, "side", "main")
    extend(origin, store, {"a.bin": b"ours", "c.bin": b"our c"})
    work = take(origin, tmp_path / "work", store)
    said(work.path, "merge", "origin/side", code=1)
    for stage, content in enumerate([b"base", b"ours", b"theirs"], 1):
        assert work.git("show", f":{stage}:a.bin") == placeholder(content)
    conflict = work.read("a.bin")
    if b"binary" in attributes:
        assert conflict == b"ours"
    else:
        assert placeholder(b"ours") in conflict and placeholder(b"theirs") in conflict
    work.sync("--checkout")
    assert work.read("a.bin") == conflict, "it is not ours to resolve"
    for side in ("ours", "theirs"):
        work.git("checkout", f"--{side}", "a.bin")
        assert work.read("a.bin") == side.encode()
    work.write("c.bin", b"by hand")
    work.git("add", "a.bin", "c.bin")
    work.git("commit", "-qm", "merged")
    for path, content in (("a.bin", b"theirs"), ("c.bin", b"by hand")):
        assert work.git("show", f"HEAD:{path}") == placeholder(content)
        assert work.read(path) == content and sha_of(content) in check(work.content)
    assert is_clean(work)


def test_a_merge_brings_what_the_other_side_did(work: Work, origin: Work, store: Path, rsync: Rsync) -> None:
    extend(origin, store, {f"s{n}.bin": b"side %d" % n for n in range(5)}, "side", "main~2")
    work.git("fetch", "-q")
    assert "gitlob" not in said(work.path, "merge", "--no-edit", "-q", "origin/side")
    assert [work.read(f"s{n}.bin") for n in range(5)] == [b"side %d" % n for n in range(5)]
    assert len(rsync.runs) == 1 and is_clean(work)


def test_a_merge_that_renormalizes(work: Work, origin: Work, store: Path) -> None:
    """git then sends the blobs of all three sides through smudge and clean."""
    extend(origin, store, {"a.bin": b"side"}, "side", "main~1")
    work.git("fetch", "-q")
    text = said(work.path, "-c", "merge.renormalize=true", "merge", "-q", "origin/side", code=1)
    assert "gitlob" not in text
    for stage, content in enumerate([TWO, THREE, b"side"], 1):
        assert work.git("show", f":{stage}:a.bin") == placeholder(content)


def test_archive_has_content_also_of_what_is_not_here(work: Work, tmp_path: Path) -> None:
    for commit, content in (("HEAD", THREE), ("HEAD~2", ONE)):
        archive = tmp_path / "a.tar"
        assert said(work.path, "archive", "-o", str(archive), commit) == ""
        with tarfile.open(archive) as tar:
            for name, expected in (("a.bin", content), ("b.bin", BEE)):
                member = tar.extractfile(name)
                assert member and member.read() == expected


def test_linked_worktrees_share_what_one_brought(work: Work, tmp_path: Path, rsync: Rsync) -> None:
    linked = Work(tmp_path / "linked")
    assert said(work.path, "worktree", "add", "--detach", str(linked.path), "HEAD~2").count("gitlob") == 0
    assert linked.read("a.bin") == ONE and is_clean(linked)
    work.git("checkout", "-q", "HEAD~2")
    assert work.read("a.bin") == ONE
    assert len(rsync.runs) == 1
    linked.write("own.bin", b"own")
    linked.git("add", "own.bin")
    assert check(work.content) == {sha_of(content) for content in (ONE, THREE, BEE, b"own")}
    assert linked.content == work.content


def test_submodules(tmp_path: Path) -> None:
    """The store of each is named in its own .gitlobconfig, or on the command line."""
    inner, outer = tmp_path / "stores" / "inner", tmp_path / "stores" / "outer"
    team = f'[remote "origin"]\n\tgit-lob-path = {inner}\n'.encode()
    library = publish(tmp_path / "library", inner, {".gitlobconfig": team, "l.bin": b"lib 1"}, {"l.bin": b"lib 2"})
    above = publish(tmp_path / "above", outer, {"o.bin": b"outer"})
    above.git("reset", "-q", "--hard")
    shell(
        above,
        f"git submodule --quiet add {library.path} lib; git -C lib checkout -q HEAD~1; git add lib; git commit -qm lib",
    )
    work = take(above, tmp_path / "work", outer)
    assert "gitlob" not in said(work.path, "submodule", "--quiet", "update", "--init")
    library_here = Work(work.path / "lib")
    assert (work.read("o.bin"), library_here.read("l.bin")) == (b"outer", b"lib 1")
    assert is_clean(work) and is_clean(library_here)
    assert sha_of(b"lib 1") in check(library_here.content) and check(work.content) == {sha_of(b"outer")}
    library_here.git("checkout", "-q", "main")
    work.git("submodule", "--quiet", "update")
    assert library_here.read("l.bin") == b"lib 1"
    again = take(above, tmp_path / "again", outer, "--recurse-submodules")
    assert (again.read("o.bin"), again.read("lib/l.bin")) == (b"outer", b"lib 1")


def test_sparse_checkout_brings_what_it_is_widened_to(tmp_path: Path, store: Path, rsync: Rsync) -> None:
    names = ("top", "one/a", "one/b", "two/c", "three/d")
    files: dict[str | bytes, bytes] = {f"{name}.bin": name.encode() for name in names}
    origin = publish(tmp_path / "origin", store, files)
    work = take(origin, tmp_path / "work", store, "--sparse")
    assert shas_in(work.content) == {sha_of(b"top")}
    work.git("sparse-checkout", "set", "one")
    assert shas_in(work.content) == {sha_of(content) for content in (b"top", b"one/a", b"one/b")}
    work.sync("--checkout")
    work.git("sparse-checkout", "add", "two")
    assert shas_in(work.content) == {sha_of(content) for content in (b"top", b"one/a", b"one/b", b"two/c")}
    assert work.read("two/c.bin") == b"two/c" and not (work.path / "three").exists()
    assert len(rsync.runs) == 3 and is_clean(work)
    work.git("sparse-checkout", "disable")
    assert {path: work.read(path) for path in files} == files


def test_a_partial_clone(origin: Work, tmp_path: Path, store: Path, rsync: Rsync) -> None:
    for key in ("allowFilter", "allowAnySHA1InWant"):
        origin.git("config", f"uploadpack.{key}", "true")
    work = Work(tmp_path / "work")
    assert said(tmp_path, "clone", "-q", "--filter=blob:none", "-c", f"remote.origin.git-lob-path={store}",
                f"file://{origin.path}", str(work.path)) == ""  # fmt: skip
    assert b"?" in work.git("rev-list", "--objects", "--missing=print", "HEAD"), "else this test shows nothing"
    assert work.read("a.bin") == THREE and len(rsync.runs) == 1
    work.sync("--checkout")
    work.git("checkout", "-q", "HEAD~2")
    assert work.read("a.bin") == ONE and is_clean(work)
    work.write("a.bin", b"mine")
    work.git("stash", "-q")
    work.git("checkout", "-q", "main")
    work.git("stash", "pop", "-q", code=1)
    assert work.git("show", ":1:a.bin") == placeholder(ONE)


def test_a_bare_mirror_is_a_store_for_clones(origin: Work, tmp_path: Path, store: Path) -> None:
    mirror = Work(tmp_path / "mirror.git")
    said(
        tmp_path,
        "clone",
        "-q",
        "--mirror",
        "-c",
        f"remote.origin.git-lob-path={store}",
        str(origin.path),
        str(mirror.path),
    )
    assert not shas_in(mirror.content)
    mirror.sync("--pull", "--committed")
    assert check(mirror.content) == {sha_of(content) for content in (ONE, TWO, THREE, BEE)}
    shutil.rmtree(store)
    work = take(mirror, tmp_path / "work", mirror.content)
    assert work.read("a.bin") == THREE
    work.git("checkout", "-q", "HEAD~2")
    assert work.read("a.bin") == ONE and is_clean(work)
    archive = subprocess.run(["git", "archive", "HEAD~1", "a.bin"], cwd=mirror.path, capture_output=True, check=True)
    assert TWO in archive.stdout and archive.stderr == b""
    mirror.git("worktree", "add", "-q", "--detach", str(tmp_path / "linked"), "HEAD~1")
    assert Work(tmp_path / "linked").read("a.bin") == TWO


@pytest.mark.parametrize(
    ("attributes", "autocrlf"),
    [(ATTRIBUTES, "true"), (b"* text=auto\n*.bin filter=lob\n", "input")],
)
def test_line_ends_in_binaries_stay(tmp_path: Path, store: Path, attributes: bytes, autocrlf: str) -> None:
    subprocess.run(["git", "config", "--global", "core.autocrlf", autocrlf], check=True)
    content = b"one\ntwo\r\nthree\r" * 100
    origin = publish(tmp_path / "origin", store, {"a.bin": content, "empty.bin": b""}, attributes=attributes)
    work = take(origin, tmp_path / "work", store)
    assert (work.read("a.bin"), work.read("empty.bin")) == (content, b"")
    assert is_clean(work)
    work.write("b.bin", content)
    work.git("add", "b.bin")
    assert work.git("show", ":b.bin") == placeholder(content)
    (work.path / "b.bin").unlink()
    work.git("checkout", "-q", "--", "b.bin")
    assert work.read("b.bin") == content


def test_empty_binaries(tmp_path: Path, store: Path) -> None:
    """git gives a delayed file no content when it asks again: not to be taken for an empty one, nor the reverse."""
    files: dict[str | bytes, bytes] = {"a.bin": b"a", "empty.bin": b"", "z/empty.bin": b""}
    work = take(publish(tmp_path / "origin", store, files), tmp_path / "work", store)
    assert {path: work.read(path) for path in files} == files
    assert is_clean(work)
    assert work.git("ls-files", "-s", "empty.bin").split()[1] == work.git("hash-object", "empty.bin").strip()
    work.write("new.bin", b"")
    work.git("add", "new.bin")
    assert work.git("show", ":new.bin") == placeholder(b"")


FSMONITOR = r"""#!/bin/sh
# version 2: what changed since the last time, which the token tells
printf '%s\0' "$(date +%s.%N)"
find . -path ./.git -prune -o -newermt "@${2:-0}" -type f -printf '%P\0'
"""


def test_with_a_file_monitor_and_an_untracked_cache(tmp_path: Path, origin: Work, store: Path) -> None:
    hook = tmp_path / "monitor"
    hook.write_text(FSMONITOR)
    hook.chmod(0o755)
    settings = {"core.fsmonitor": str(hook), "core.fsmonitorHookVersion": "2", "core.untrackedCache": "true"}
    for key, value in settings.items():
        subprocess.run(["git", "config", "--global", key, value], check=True)
    subprocess.run(["git", "config", "--global", "git-lob.autofetch", "false"], check=True)
    said(tmp_path, "clone", "-q", str(origin.path), "work")
    work = Work(tmp_path / "work")
    work.run("gitlob-setup", "-q", "origin", str(store))
    assert is_clean(work) and work.read("a.bin") == placeholder(THREE)
    work.sync("--checkout")
    assert is_clean(work) and work.read("a.bin") == THREE
    work.git("config", "git-lob.autofetch", "true")
    work.git("checkout", "-q", "HEAD~1")
    assert is_clean(work) and work.read("a.bin") == TWO
    work.write("a.bin", b"edited")
    work.write("new.bin", b"new")
    assert work.git(*STATUS) == b" M a.bin\n?? new.bin\n"
    work.git("reset", "-q", "--hard")
    work.git("clean", "-qfd")
    assert is_clean(work) and work.read("a.bin") == TWO


def test_raw_content_from_before_the_attribute(tmp_path: Path, store: Path, rsync: Rsync) -> None:
    raw = os.urandom(300_000) + b"\r\n"
    origin = publish(tmp_path / "origin", store, {"raw": raw}, attributes=b"")
    origin.git("config", "core.safecrlf", "false")
    shell(
        origin,
        "git reset -q --hard; git mv raw a.bin; git commit -qm raw;"
        "echo '*.bin filter=lob -text' >.gitattributes; git add .gitattributes; git commit -qm attribute",
    )
    assert origin.git("cat-file", "-s", "HEAD:a.bin").strip() == b"%d" % len(raw)
    work = take(origin, tmp_path / "work", store)
    assert work.read("a.bin") == raw, "a raw blob is checked out as it is"
    assert not rsync.runs
    work.git("add", "--renormalize", ".")
    work.git("commit", "-qm", "now a binary")
    assert work.git("show", "HEAD:a.bin") == placeholder(raw) and check(work.content) == {sha_of(raw)}
    assert work.read("a.bin") == raw and is_clean(work)
    (work.path / "a.bin").unlink()
    work.git("checkout", "-q", "-f", "HEAD~1")
    assert work.read("a.bin") == raw
    work.git("checkout", "-q", "-f", "main")
    assert work.read("a.bin") == raw and is_clean(work)


def test_a_branch_without_the_attribute_shows_the_placeholder_and_comes_back(work: Work) -> None:
    """What a path is, the .gitattributes of each commit says; none of it may end up as content."""
    shell(
        work,
        "git rm -q --cached .gitattributes; git commit -qm none; rm .gitattributes a.bin; git checkout -q -- a.bin",
    )
    assert work.read("a.bin") == placeholder(THREE)
    work.git("checkout", "-q", "HEAD~1")
    work.git("checkout", "-q", "--", ".")
    shell(work, "rm a.bin; git checkout -q -- a.bin")
    assert work.read("a.bin") == THREE and is_clean(work)


# Several at once


def test_two_worktrees_check_out_and_add_at_once(tmp_path: Path, store: Path) -> None:
    """The same and different binaries, some here, some at the remote alone."""
    common: dict[str | bytes, bytes] = {f"same{n}.bin": b"same %d" % n * 500 for n in range(20)}
    origin = publish(tmp_path / "origin", store, {"first.bin": b"first"})
    for branch in ("one", "two"):
        own: dict[str | bytes, bytes] = {f"own{n}.bin": f"{branch} {n}".encode() * 500 for n in range(10)}
        extend(origin, store, {**common, **own}, branch, "main")
    work = take(origin, tmp_path / "work", store)
    trees = {branch: Work(tmp_path / branch) for branch in ("one", "two")}
    for branch, tree in trees.items():
        work.git("worktree", "add", "-q", "--detach", str(tree.path))
        tree.write("added.bin", b"added in " + branch.encode())
        tree.write("both.bin", b"both" * 3_000_000)

    def at_once(*args: str) -> None:
        started = [
            subprocess.Popen(
                ["git", *(arg.replace("BRANCH", name) for arg in args)], cwd=at.path, stderr=subprocess.PIPE
            )
            for name, at in trees.items()
        ]
        said = [process.communicate(timeout=60)[1] for process in started]
        assert [process.returncode for process in started] == [0, 0], said
        assert said == [b"", b""]

    at_once("add", ".")
    for branch, tree in trees.items():
        assert tree.git("show", ":added.bin") == placeholder(b"added in " + branch.encode())
        assert tree.git("show", ":both.bin") == placeholder(b"both" * 3_000_000)
    at_once("commit", "-qm", "added")
    at_once("checkout", "-q", "origin/BRANCH")
    for branch, tree in trees.items():
        assert all(tree.read(path) == content for path, content in common.items())
        assert all(tree.read(f"own{n}.bin") == f"{branch} {n}".encode() * 500 for n in range(10))
        assert is_clean(tree)
    check(work.content)
    assert not work.staging
