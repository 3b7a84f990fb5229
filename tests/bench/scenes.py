"""What is measured: each scene makes its repositories and gives the commands to run in them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tests.bench.measure import ENV, PROGRAMS, Case
from tests.bench.sshd import sshd
from tests.bench.stage import KIB, MIB, Lacking, Stage, binaries, empty, fill, filled, git, repository, set_aside, store

DAYS = 30
SYNC = str(PROGRAMS / "gitlob-sync")
WORKS = {
    "list": "list what all of a long history refers to",
    "window": f"what the last {DAYS} days of it need; nothing has to be downloaded",
    "start": "start the program",
    "status": "gitlob-status of this history with all of its binaries; first: with nothing remembered",
    "add": "git add of 1,000 files of 256 KiB and 4 of 64 MiB",
    "checkout": "git checkout of these from the local store",
    "add-one": "git add of one file of 20 KiB",
    "download": "git checkout of 1,000 files of 20 KiB whose binaries are missing, over ssh on loopback",
    "push-hook": "the pre-push hook for one commit without binaries",
    "fix-up": "fill in 5,000 placeholders of 20 KiB from the local store",
    "fsck": "hash a store of 1,000 binaries of 256 KiB and 32 of 64 MiB",
}


def history(stage: Stage) -> Iterator[Case]:
    script = stage.given.make_repo
    if not script.is_file():
        raise Lacking(f"there is no {script}, which makes the history (--make-repo PATH)")
    size = [f"--{name}={getattr(stage.given, name)}" for name in ("commits", "assets", "sources")]
    for kind in stage.kinds:
        at = stage.history / kind
        if at.exists():
            print(f"{at} is there already and is used", file=sys.stderr)
            continue
        # lfs with its objects, so that fetch has nothing to download
        options = ["--no-store"] if kind == "lob" else []
        argv = [sys.executable, str(script), str(at), f"--format={kind}", *size, "--size=16", *options]
        subprocess.run(argv, check=True, env=ENV, stdout=sys.stderr)
    window = ["-c", f"lfs.fetchrecentrefsdays={DAYS}", "-c", f"lfs.fetchrecentcommitsdays={DAYS}"]
    for work, args, peer in (
        ("list", ["--list", "--committed"], ["lfs", "ls-files", "--all"]),
        ("window", ["--list", "--window", f"{DAYS}d"], [*window, "lfs", "fetch", "--recent"]),
        ("start", ["--help"], ["lfs", "version"]),
    ):
        yield (ours := Case(work, [SYNC, *args], stage.history / "lob"))
        if stage.with_lfs:
            name = " ".join(["git", *(word for word in peer if word != "-c" and "=" not in word)])
            yield Case(work, ["git", *peer], stage.history / "lfs", ours, name)


def status(stage: Stage) -> Iterator[Case]:
    script = stage.given.make_repo
    if not script.is_file():
        raise Lacking(f"there is no {script}, which makes the history (--make-repo PATH)")
    at = stage.folder / "status"
    size = [f"--{name}={getattr(stage.given, name)}" for name in ("commits", "assets", "sources")]
    argv = [sys.executable, str(script), str(at), "--format=lob", *size, "--size=16"]
    subprocess.run(argv, check=True, env=ENV, stdout=sys.stderr)
    git(at, "config", "remote.origin.git-lob-path", str(stage.folder / "nowhere"))
    program = str(PROGRAMS / "gitlob-status")
    yield (ours := Case("status", [program], at))
    yield Case("status", [program], at, ours, "gitlob-status (first)", prepare=lambda: empty(store(at) / "state"))


def large(stage: Stage) -> Iterator[Case]:
    """Each run of one leaves what the other starts from: files, an index, and a full store."""
    repos = [repository(stage.folder / "large" / kind, kind) for kind in stage.kinds]
    for repo in repos:
        fill(repo, stage.count(1000), 256 * KIB)
        fill(repo, stage.count(4), 64 * MIB, "large")
        git(repo, "add", ".")

    def cases(
        work: str, argv: Sequence[str], prepare: Callable[[Path], None], check: Callable[[Path], bool]
    ) -> Iterator[Case]:
        ours = None
        for repo in repos:
            case = Case(work, argv, repo, ours, prepare=partial(prepare, repo), check=partial(check, repo))
            case.name += " (git-lfs)" if ours else ""
            ours = ours or case
            yield case

    def forget(repo: Path) -> None:
        empty(store(repo))
        (repo / ".git" / "index").unlink()

    def stored(repo: Path) -> bool:
        held = sum(at.stat().st_size for at in store(repo).rglob("*") if at.is_file())
        return held >= sum(at.stat().st_size for at in binaries(repo))

    def remove(repo: Path) -> None:
        for at in binaries(repo):
            at.unlink()

    yield from cases("add", ["git", "add", "."], forget, stored)
    yield from cases("checkout", ["git", "checkout", "-q", "."], remove, lambda repo: filled(repo, 256 * KIB))


def add_one(stage: Stage) -> Iterator[Case]:
    ours = None
    for kind, label in (("lob", ""), ("none", " (no filter)"), ("lfs", " (git-lfs)")):
        if kind == "lfs" and not stage.with_lfs:
            continue
        repo = repository(stage.folder / "add-one" / kind, kind)
        file = repo / "one.bin"
        case = Case("add-one", ["git", "add", "one.bin"], repo, ours, prepare=partial(fresh, file))
        case.name += label
        ours = ours or case
        yield case


def fresh(file: Path) -> None:
    file.write_bytes(os.urandom(20 * KIB))


def download(stage: Stage) -> Iterator[Case]:
    """The peers are one rsync of the same store, and one of the files themselves. rsync -a forces nothing to the disk, a
    pull does; so that without it stands beside."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if not program:
        raise Lacking("there is no sshd")
    top = stage.folder / "download"
    repo = repository(top / "lob", "lob")
    far, plain, near = top / "far", top / "plain", top / "near"
    fill(repo, stage.count(1000), 20 * KIB)
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "files")
    subprocess.run([SYNC, "-q", "--push", "--committed", "--", str(far)], cwd=repo, env=ENV, check=True)
    for at in binaries(repo):
        (plain / at.relative_to(repo)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(at, plain / at.relative_to(repo))
    command, port = stage.stack.enter_context(sshd(program, top / "sshd"))
    git(repo, "config", "core.sshCommand", command)
    git(repo, "config", "remote.origin.git-lob-path", f"ssh://127.0.0.1:{port}{far}")

    def forget() -> None:
        set_aside(top / "aside", store(repo), *{at.parent for at in binaries(repo)})

    def case(*config: str, ours: Case | None = None) -> Case:
        argv = ["git", *config, "checkout", "-q", "."]
        return Case("download", argv, repo, ours, prepare=forget, check=lambda: filled(repo, 20 * KIB))

    yield (ours := case())
    yield case("-c", "git-lob.fsync=false", ours=ours)
    for source, label in ((far, "the store"), (plain, "the files")):
        argv = ["rsync", "-a", "-e", command, f"127.0.0.1:{source}/", str(near)]
        yield Case(
            "download", argv, top, ours, f"rsync -a -e ssh ({label})", prepare=lambda: set_aside(top / "aside", near)
        )


def push_hook(stage: Stage) -> Iterator[Case]:
    """A hundred binaries were pushed before; one commit with a text is on its way."""
    cases: list[Case] = []
    for kind in stage.kinds:
        top = stage.folder / "push-hook" / kind
        repo = repository(top / "work", kind)
        url = f"file://{top}/origin.git"
        git(top, "init", "-q", "--bare", "origin.git")
        git(repo, "remote", "add", "origin", url)
        fill(repo, 100, 20 * KIB)
        git(repo, "add", ".")
        git(repo, "commit", "-q", "-m", "binaries")
        git(repo, "push", "-q", "origin", "main")
        before = git(repo, "rev-parse", "HEAD").strip()
        (repo / "text").write_text("text\n")
        git(repo, "add", ".")
        git(repo, "commit", "-q", "-m", "text")
        refs = f"refs/heads/main {git(repo, 'rev-parse', 'HEAD').strip()} refs/heads/main {before}\n".encode()
        if kind == "lob":
            git(repo, "config", "remote.origin.git-lob-path", str(top / "store"))
            ours = Case("push-hook", [SYNC, "--pre-push", "--", "origin"], repo, stdin=refs)
            push = ["git", "push", "-q", "-n", "--no-verify", "origin", "main"]
            cases += [ours, Case("push-hook", push, repo, ours, "git push -n (no hook)")]
        else:
            git(repo, "config", f"lfs.{url}.locksverify", "false")
            argv = ["git", "lfs", "pre-push", "origin", url]
            cases.append(Case("push-hook", argv, repo, cases[0], "git lfs pre-push origin", stdin=refs))
    yield from cases


def fix_up(stage: Stage) -> Iterator[Case]:
    ours = None
    for kind, argv in (("lob", [SYNC, "-q", "--checkout", "--offline"]), ("lfs", ["git", "lfs", "checkout"])):
        if kind not in stage.kinds:
            continue
        repo = repository(stage.folder / "fix-up" / kind, kind)
        fill(repo, stage.count(5000), 20 * KIB)
        git(repo, "add", ".")
        git(repo, "commit", "-q", "-m", "files")

        def collapse(repo: Path = repo, kind: str = kind) -> None:
            for at in binaries(repo):
                at.unlink()
            off = (f"filter.{kind}.process=", f"filter.{kind}.smudge=", f"filter.{kind}.required=false")
            git(repo, *(word for key in off for word in ("-c", key)), "checkout", "-q", ".")

        def check(repo: Path = repo) -> bool:
            return filled(repo, 20 * KIB) and not git(repo, "status", "--porcelain")

        case = Case("fix-up", argv, repo, ours, prepare=collapse, check=check)
        ours = ours or case
        yield case


def fsck(stage: Stage) -> Iterator[Case]:
    """The peers are the same with one processor, which is what the others bring, and sha1sum."""
    ours = None
    for kind, argv in (("lob", [str(PROGRAMS / "gitlob-fsck"), "-q"]), ("lfs", ["git", "lfs", "fsck", "--objects"])):
        if kind not in stage.kinds:
            continue
        repo = repository(stage.folder / "fsck" / kind, kind)
        fill(repo, stage.count(1000), 256 * KIB)
        fill(repo, stage.count(32), 64 * MIB, "large")
        git(repo, "add", ".")
        git(repo, "commit", "-q", "-m", "files")
        for at in binaries(repo):
            at.unlink()
        yield (case := Case("fsck", argv, repo, ours))
        if kind == "lob":
            ours = case
            if shutil.which("taskset"):
                one = str(min(os.sched_getaffinity(0)))
                yield Case("fsck", ["taskset", "-c", one, *argv], repo, ours, "gitlob-fsck -q (one processor)")
            chunks = f"find {store(repo)}/content -type f ! -name '*_meta' -exec sha1sum {{}} + >/dev/null"
            yield Case("fsck", ["sh", "-c", chunks], repo, ours, "sha1sum of all chunks")


SCENES: dict[Callable[[Stage], Iterator[Case]], tuple[str, ...]] = {
    history: ("list", "window", "start"),
    status: ("status",),
    large: ("add", "checkout"),
    add_one: ("add-one",),
    download: ("download",),
    push_hook: ("push-hook",),
    fix_up: ("fix-up",),
    fsck: ("fsck",),
}
