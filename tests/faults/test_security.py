"""The attacks that programs of this kind have fallen to, each with its test: here, or where this table says.

| attack | tests |
|--|--|
| writing through a link in the working tree: a folder, a file | worktree/test_expand: links_in_the_place_of_files_and_folders |
| the same, set while files are filled in; a link where a file is missing | here: The working tree |
| writing through a hard link to a placeholder | worktree/test_expand: another_hard_link_to_the_placeholder |
| writing through a hard link to a store's file | here: The local store |
| .git as a part of a path, in any case or Unicode form; .. and absolute paths | here: The working tree |
| .gitattributes as a link | jobs/test_hooks: nothing_is_written_through_a_link |
| options in refs | selection/test_references: an_unknown_ref_is_named; commands/test_bad_input: wrong_usage |
| options and commands in names of branches, tags, remotes | here: Options and commands |
| options and commands in paths | worktree/test_expand: paths_that_are_hard; filter/test_convert: paths_with_a_dash; selection/test_references: any_path_comes_out |
| options and paths in a placeholder's text | here: Options and commands; faults/test_fuzz: nothing_else_is_a_placeholder |
| options and commands in locations | test_location: what_is_none_is_refused; commands/test_bad_input: wrong_usage |
| the same in a tracked file | here: Options and commands; faults/test_fuzz: no_location_is_anything_but_a_place |
| values of the configuration with line ends | commands/test_bad_input: a_value_out_of_range; faults/test_fuzz: every_value_of_the_configuration |
| commands and other keys in a tracked file | jobs/test_transfer: a_tracked_file_gives_a_team; faults/test_fuzz: a_tracked_file_gives_locations |
| a tracked file that is a link, or no file | here: Options and commands |
| programs called git, rsync or ssh in the current folder | commands/test_bad_input: programs_of_the_repository_are_not_run |
| Python modules in the current folder; the repository of another user | here: Programs |
| a remote that sends wrong bytes, links, folders, FIFOs | jobs/test_transfer: nothing_hostile_gets_in |
| a remote whose metas lie | jobs/test_transfer: no_hostile_meta_is_believed; jobs/test_transfer: a_lie_about_the_size |
| a remote that sends other names, places and kinds than it was asked for | here: A remote that lies |
| a remote that sends nonsense | transport/rsync/test_transport: a_daemon_that_is_none; here: A remote that lies |
| a remote that sends nothing | transport/rsync/test_transport: a_daemon_that_never_answers; transport/rsync/test_transport: a_sender_that_freezes |
| a remote whose words act on the terminal | transport/rsync/test_transport: fit_for_a_terminal; here: A remote that lies |
| a remote whose words pass for rsync's | here: A remote that lies; faults/test_fuzz: nothing_that_rsync_reports_is_believed |
| links in a local store | commands/test_bad_input: a_local_store_that_is_none; here: The local store |
| links in what a killed run left | jobs/test_transfer: links_in_what_was_left |
| links in a store on a disk of ours that is pushed to, or cleaned; lists there that are none | here: A store that others can write |
| files of a shared store that others cannot read, or anyone can write | here: Modes |
"""

import hashlib
import os
import re
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gitlob_rsync.git.paths import quote
from tests.faults import hostile
from tests.faults.hostile import Entry, Plan
from tests.support.handmade import CHUNK, check, chunk, files_of, meta, placeholder, put, sha_of, shas_in, tree
from tests.support.processes import UNPRIVILEGED, one_line, program
from tests.support.repositories import commit, repository, sharing
from tests.support.servers import Sshd
from tests.support.work import Work, init

SECONDS = 120
"""What may take this long hangs."""


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that nobody may write into."""
    folder = tmp_path / "outside"
    (folder / "er").mkdir(parents=True)
    (folder / "precious").write_bytes(b"precious")
    return folder


@contextmanager
def unchanged(*folders: Path) -> Iterator[None]:
    """Nothing comes, goes or changes in these folders, links among it."""

    def state() -> list[tuple[str, int, int, int]]:
        found = [at for folder in folders for at in (folder, *folder.rglob("*"))]
        return sorted((str(at), at.lstat().st_ino, at.lstat().st_mtime_ns, at.lstat().st_mode) for at in found)

    before = state()
    yield
    assert state() == before


def test_the_table_holds() -> None:
    """Each test and each part that it names is there."""
    tests = Path(__file__).resolve().parents[1]
    own = Path(__file__).read_text()
    rows = [line.split("|")[2] for line in (__doc__ or "").splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 25
    for where, _, what in (cell.strip().partition(": ") for row in rows for cell in row.split(";")):
        if where == "here":
            assert f"\n# {what}" in own, what
        else:
            assert re.search(rf"^def test_\w*{what}", (tests / f"{where}.py").read_text(), re.MULTILINE), (where, what)


# The working tree


@pytest.fixture
def waiting(tmp_path: Path) -> Work:
    """A working tree with placeholders a.bin and deep/er/c.bin, whose binaries are here. All paths have the filter."""
    files = {"a.bin": b"first", "deep/er/c.bin": b"third"}
    work = repository(tmp_path / "clone", tmp_path / "remote", files)
    (work.path / ".git" / "info").mkdir(exist_ok=True)
    (work.path / ".git" / "info" / "attributes").write_text("* filter=lob -text\n")
    work.git("read-tree", "HEAD")
    for path, content in files.items():
        work.write(path, placeholder(content))
    return work


@pytest.mark.parametrize("mode", ["present", "missing"])
def test_a_link_that_takes_a_folder_s_place_meanwhile_is_not_followed(waiting: Work, outside: Path, mode: str) -> None:
    """Between the look at a file and its replacement, someone else may be at work in the tree."""
    (outside / "er" / "c.bin").write_bytes(placeholder(b"third"))
    if mode == "missing":
        (outside / "er" / "c.bin").unlink()
        (waiting.path / "deep" / "er" / "c.bin").unlink()
    script = (
        "import os, sys, gitlob_rsync.worktree.expand as w\n"
        "real = w._fill\n"
        "def fill(tree, store, one, *rest):\n"
        "    if b'deep' in one.entry.path:\n"
        f"        os.rename('deep', '../deep'); os.symlink({str(outside)!r}, 'deep')\n"
        "    real(tree, store, one, *rest)\n"
        "w._fill = fill\n"
        "from gitlob_rsync.commands.sync import main\nsys.exit(main())\n"
    )
    with unchanged(outside):
        done = waiting.run(sys.executable, "-c", script, "--checkout", "--offline", "--restore-missing", "--json")
    assert '"expanded": 1' in done.stdout
    assert waiting.read("a.bin") == b"first"


@pytest.mark.parametrize("target", ["precious", "new", "er"])
def test_a_link_in_the_place_of_a_missing_file_is_left_alone(waiting: Work, outside: Path, target: str) -> None:
    (waiting.path / "a.bin").unlink()
    (waiting.path / "a.bin").symlink_to(outside / target)
    with unchanged(outside):
        assert waiting.json("--checkout", "--restore-missing", "--offline")["left_alone"] == 1
    assert (waiting.path / "a.bin").is_symlink()


def forge(work: Work, blob: str, *paths: bytes) -> None:
    """Write an index that git would not (gitformat-index(5), version 2)."""
    body = b"DIRC" + struct.pack(">2I", 2, len(paths))
    for path in sorted(paths):
        entry = struct.pack(">6I", *[0] * 6) + struct.pack(">4I", 0o100644, 0, 0, 0) + bytes.fromhex(blob)
        entry += struct.pack(">H", len(path)) + path
        body += entry + bytes(8 - len(entry) % 8)
    (work.path / ".git" / "index").write_bytes(body + hashlib.sha1(body).digest())


REFUSED = [
    b".git/hooks/post-checkout", b".GIT/hooks/post-checkout", b".gIt/config.new", b"sub/.git/hooks/post-checkout", b".git", b"a/.Git",
    ".g\u200cit/new".encode(), ".git\u200d/new".encode(), "\ufeff.GIT/new".encode(), b"git~1/new", b"a/GIT~1/new", b".git /new", b".git./new",
    b".git . ./new", b".git::$INDEX_ALLOCATION/new", b".git\\new", b"../outside/new", b"a/../../outside/new", b"deep/../new", b"..",
    b"./new", b"a//new", b"a/./new",
]  # fmt: skip
"""What git refuses as a path (read-cache.c, verify_path), with core.protectHFS and core.protectNTFS."""


def test_no_path_leads_into_git_s_own_folder_or_out_of_the_tree(waiting: Work, outside: Path) -> None:
    (waiting.path / "sub" / ".git" / "hooks").mkdir(parents=True)
    blob = waiting.git("rev-parse", ":a.bin").decode().strip()
    forge(waiting, blob, b"good.bin", *REFUSED)
    top, git_dir = set(waiting.path.iterdir()), set((waiting.path / ".git").iterdir())
    with unchanged(outside, waiting.path / ".git" / "hooks", waiting.path / "sub", waiting.path / "deep"):
        done = waiting.sync("--checkout", "--restore-missing", "--offline", "-v")
    told = {line for line in done.stderr.splitlines() if line.startswith("left alone")}
    assert told == {f"left alone: {quote(path)} (git itself would not write there)" for path in REFUSED}
    assert "filled in 1 file;" in done.stderr
    assert set(waiting.path.iterdir()) - top == {waiting.path / "good.bin"}
    assert {at.name for at in set((waiting.path / ".git").iterdir()) - git_dir} <= {"git-lob"}
    assert waiting.read("good.bin") == b"first"


@pytest.mark.parametrize("path", [".g\u200cit/hooks/x", "git~1/hooks/x"], ids=ascii)
def test_what_git_takes_with_its_protections_off_is_left_alone(waiting: Work, path: str) -> None:
    """A tree that one machine may hold and another must not check out."""
    blob = waiting.git("rev-parse", ":a.bin").decode().strip()
    loose = ("-c", "core.protectHFS=false", "-c", "core.protectNTFS=false")
    waiting.git(*loose, "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
    waiting.git(*loose, "commit", "-qm", "hostile")
    for setting in loose[1::2]:
        waiting.git("config", *setting.split("="))
    done = waiting.sync("--checkout", "--restore-missing", "--offline", "-v")
    assert "filled in 2 files; left alone 1 file" in done.stderr and "git itself" in done.stderr
    assert not (waiting.path / path).parent.exists()


def test_trees_that_git_would_not_check_out_are_looked_into_and_no_more(waiting: Work) -> None:
    """What they name is selected as anything else: nothing is written by their paths."""
    blob = waiting.git("rev-parse", ":a.bin").decode().strip()
    listing = "".join(f"100644 blob {blob}\t{name}\0" for name in (".", "..", ".GIT", ".git", "git~1", ".g\u200cit"))
    tree = waiting.git("mktree", "-z", input=listing.encode()).decode().strip()
    made = waiting.git("commit-tree", "-m", "hostile", tree).decode().strip()
    waiting.git("update-ref", "refs/heads/hostile", made)
    top = {at.name for at in waiting.path.iterdir()}
    with unchanged(waiting.path / ".git" / "hooks"):
        assert set(waiting.listed("--ref", "hostile", "--committed")) == {sha_of(b"first")}
        waiting.sync("--push", "--recheck")
        waiting.sync("--pull", "--window", "all")
    assert {at.name for at in waiting.path.iterdir()} == top


# Options and commands


TOUCH = [
    "$(touch${IFS}pwned)",
    "`touch pwned`",
    "`evil`",
    "; touch pwned;",
    "| touch pwned",
    "' ; touch pwned '",
    "--output=pwned",
    "-opwned",
]


@pytest.fixture
def anywhere(tmp_path: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that answers to every name, and its user's home folder."""
    far = tmp_path / "far"
    far.mkdir()
    program(far / "evil", "touch pwned")
    ssh = sshd.forced(f'export HOME={far} PATH={far}:$PATH; cd {far}; exec sh -c "$SSH_ORIGINAL_COMMAND"')
    config = tmp_path / "ssh_config"
    here = f"HostName 127.0.0.1\nPort {sshd.port}\nHostKeyAlias [127.0.0.1]:{sshd.port}\n"
    config.write_text(Path(ssh.split()[-1]).read_text() + f"User {os.environ.get('USER', 'root')}\nHost *\n{here}")
    monkeypatch.setenv("GIT_SSH_COMMAND", f"ssh -F {config}")
    return far


def pwned(*folders: Path) -> list[Path]:
    """What a command that got through would have made."""
    return [at for folder in folders for at in folder.rglob("*pwned") if at.name in ("pwned", "opwned")]


NO_PLACES = [
    *(f"{form.format(text)}" for text in TOUCH for form in ("{}:/x", "ssh://{}/x", "rsync://{}/m", "me{}@nas:/x")), "-e touch pwned",
    "--rsh=touch pwned", "ext::sh -c touch% pwned", "nas:/x\n--rsh=touch pwned", "ssh://-oProxyCommand=touch pwned/x", "ssh://nas -p 1/x",
    "-oProxyCommand=touch pwned:/x", "nas -oProxyCommand=touch:/x", "[-oProxyCommand=touch pwned]:/x", "-opwned", "--output=pwned",
]  # fmt: skip
SHELLS = "".join(text for text in TOUCH if "`" not in text)
PLACES = [
    f"nas:x{SHELLS}", f"nas:x`evil`{SHELLS}", "nas:--output=pwned", "nas:-e touch pwned", "nas:x --rsync-path=touch pwned", f"./{SHELLS}`evil`",
    "`evil`", "; touch pwned;", "../x | touch pwned",
]  # fmt: skip


def test_no_location_of_a_tracked_file_is_a_command(tmp_path: Path, anywhere: Path) -> None:
    work = repository(tmp_path / "work", None, {"a.bin": b"abc"})
    team = work.path / ".gitlobconfig"
    for location in NO_PLACES:
        subprocess.run(["git", "config", "--file", team, "remote.origin.git-lob-path", location], check=True)
        done = work.sync("--push", code=None)
        assert done.returncode in (2, 4), location  # a user, or a machine, may be called some of this
        assert done.stderr.count("\n") == 1 and not pwned(tmp_path), location


def test_a_location_of_a_tracked_file_may_be_called_anything(tmp_path: Path, anywhere: Path) -> None:
    """On this disk, and elsewhere, where a shell stands in the way."""
    work = repository(tmp_path / "work", None, {"a.bin": b"abc"})
    team = work.path / ".gitlobconfig"
    for number, location in enumerate(PLACES):
        subprocess.run(["git", "config", "--file", team, "remote.origin.git-lob-path", location], check=True)
        work.sync("--push")
        stores = {at.parents[2] for at in tmp_path.rglob(f"{sha_of(b'abc')}_meta")}
        assert len(stores - {work.content}) == number + 1, location
        assert not pwned(tmp_path), location


@pytest.mark.parametrize("name", ["--upload-pack=touch pwned", "-x", "$(touch pwned)", "`touch pwned`", "*", "a b", ""])
def test_no_name_of_a_remote_is_an_option(tmp_path: Path, store: Path, name: str) -> None:
    work = repository(tmp_path / "work", None, {"a.bin": b"abc"})
    (work.path / ".gitlobconfig").write_text(f'[remote "{name}"]\n\tgit-lob-path = {store}\n')
    work.sync(code=2 if name == "" else 0)  # the only remote with a store
    work.sync("--pull", "--", name, code=2 if name == "" else 0)
    assert not pwned(tmp_path)
    assert name == "" or check(store) == {sha_of(b"abc")}


@pytest.mark.parametrize(
    "name",
    ["--output=pwned", "-x", "$(touch${IFS}pwned)", "`touch${IFS}pwned`", ";touch${IFS}pwned", "|touch${IFS}pwned"],
)
def test_no_name_of_a_ref_is_an_option(work: Work, store: Path, tmp_path: Path, name: str) -> None:
    work.run("gitlob-setup", "-q", "--hooks")
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "origin.git"], check=True)
    work.git("config", "remote.origin.url", str(tmp_path / "origin.git"))
    work.git("config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*")
    head = work.commit(a__bin=b"abc")
    for ref in (f"refs/heads/{name}", f"refs/tags/{name}", f"refs/worktree/{name}", f"refs/remotes/origin/{name}"):
        work.git("update-ref", ref, head)
    work.git("symbolic-ref", "HEAD", f"refs/heads/{name}")
    work.git("push", "-q", "origin", f"refs/heads/{name}:refs/heads/{name}", f"refs/tags/{name}")
    work.sync("--push", "--recheck")
    work.sync("--pull", "--window", "all")
    work.sync("--push", f"--ref={name}", "--recheck", code=None)
    assert check(store) == {sha_of(b"abc")}
    assert not pwned(tmp_path)


@pytest.mark.parametrize(
    "spec", ["--output=pwned", "-x", ":(top)--output=pwned", "$(touch pwned)", ":(attr:x)--output=pwned"]
)
def test_no_pathspec_of_a_tracked_file_is_an_option(tmp_path: Path, store: Path, spec: str) -> None:
    put(store, b"abc")
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"}, have=False)
    for key in ("fetch-include", "fetch-exclude"):
        (work.path / ".gitlobconfig").write_text(f'[git-lob]\n\t{key} = "{spec}"\n')
        work.sync("--pull")
    assert not pwned(tmp_path)
    assert check(work.content) == {sha_of(b"abc")}, "which was not excluded"


def test_no_text_of_a_placeholder_is_a_path_or_an_option(tmp_path: Path, store: Path) -> None:
    """Only 40 hexadecimal digits get on; all else is content."""
    texts = [
        "../../../../../../../../../../etc/passwd",
        "--rsh=touch pwned".ljust(40),
        "/" * 40,
        "." * 40,
        "-" * 40,
        "abc/def/" * 5,
    ]
    put(store, b"abc")
    work = repository(tmp_path / "work", store, {"good.bin": b"abc"}, have=False)
    lines = [
        "commit refs/heads/main\ncommitter C <c@example.org> 1700000000 +0000\ndata 1\nx\nfrom refs/heads/main^0\n"
    ]
    lines += [f"M 100644 inline {number}.bin\ndata 49\ngit-lob: {text}\n" for number, text in enumerate(texts)]
    work.git("fast-import", "--quiet", input="".join(lines).encode())
    assert work.json("--pull", "--window", "all")["selected"] == 1
    assert check(work.content) == {sha_of(b"abc")}


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "folder", "tracked link"])
def test_a_tracked_file_that_is_no_file_is_not_read(tmp_path: Path, store: Path, kind: str) -> None:
    """A link could have a user's own file be read, and quoted in a message."""
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"})
    (tmp_path / "secret").write_text("[git-lob]\n\tfetch-refs = secret\n")
    at = work.path / ".gitlobconfig"
    if kind == "fifo":
        os.mkfifo(at)
    elif kind == "folder":
        at.mkdir()
    elif kind == "tracked link":
        blob = work.git("hash-object", "-w", "--stdin", input=b"[git-lob]\n\tfetch-refs = secret\n").decode().strip()
        work.git("read-tree", "HEAD")
        work.git("update-index", "--add", "--cacheinfo", f"120000,{blob},.gitlobconfig")
        work.git("commit", "-qm", "link")
    else:
        at.symlink_to(tmp_path / ("secret" if kind == "link" else "nowhere"))
    done = work.run("timeout", str(SECONDS), "gitlob-sync", "--push")
    assert "secret" not in done.stderr
    assert check(store) == {sha_of(b"abc")}


def test_an_ssh_command_that_is_no_utf_8(tmp_path: Path, sshd: Sshd) -> None:
    """A path is bytes, also that of an ssh."""
    own = tmp_path / os.fsdecode(b"my\xffssh")
    program(own, f'exec {sshd.command} "$@"')
    work = repository(tmp_path / "work", sshd.location(tmp_path / "remote"), {"a.bin": b"abc"})
    work.git("config", "core.sshCommand", f"'{own}'")
    work.sync("--push")
    assert check(tmp_path / "remote") == {sha_of(b"abc")}


# Programs


def test_modules_of_the_repository_are_not_imported(work: Work, store: Path, tmp_path: Path) -> None:
    for name in ("sh", "json", "hashlib", "sitecustomize", "usercustomize", "gitlob_rsync", "argparse"):
        (work.path / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    (work.path / "rich").mkdir()
    (work.path / "rich" / "__init__.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    work.commit(a__bin=b"abc")
    work.sync("--push", "--progress", "plain")
    work.sync("--pull")
    work.run("gitlob-setup", "--check")
    assert check(store) == {sha_of(b"abc")}
    assert not (tmp_path / "executed").exists()


def test_a_repository_of_someone_else_is_left_to_git(work: Work) -> None:
    """safe.directory: its configuration could have git run anything."""
    work.commit(a__bin=b"abc")
    work.git("config", "core.fsmonitor", "touch pwned")
    someone_else = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    for argv in (["gitlob-sync", "--checkout"], ["gitlob-setup", "--check"], ["gitlob-purge"]):
        done = work.run(*argv, code=2, env=someone_else)
        assert "dubious ownership" in done.stderr and done.stderr.count("\n") == 1
    assert not pwned(work.path)


# A remote that lies: hostile.py in the place of ssh and what runs behind it

RIGHT = b"the binary that is wanted"
SHA = sha_of(RIGHT)


@pytest.fixture
def victim(tmp_path: Path) -> Work:
    """A repository that wants RIGHT from a remote that it knows as nas:/store."""
    return repository(tmp_path / "deep" / "er" / "victim", "nas:/store", {"a.bin": RIGHT}, have=False)


def right() -> list[Entry]:
    """What an honest remote would send of it."""
    return [Entry(name.rpartition("/")[2], content.decode()) for name, content in files_of(RIGHT).items()]


def pull(victim: Work, plan: Plan, *args: str) -> "subprocess.CompletedProcess[str]":
    """A pull from the liar; nothing wrong is in the store afterwards, and nothing of it anywhere else."""
    at = victim.path.parents[2] / "plan"
    plan.write(at)
    before = tree(victim.path.parents[2])
    done = victim.run(
        "timeout", str(SECONDS), "gitlob-sync", "--pull", "--no-expand", *args, code=None,
        env={"GIT_SSH_COMMAND": f"{sys.executable} -S {hostile.__file__} {at}"},
    )  # fmt: skip
    assert done.returncode in (0, 1, 2, 3, 4), done.stderr
    assert (victim.path.parents[2] / "plan.asked").exists() or plan.then != "send", done.stderr
    assert all(c.isprintable() or c == "\n" for c in done.stderr)
    assert check(victim.content) <= {SHA}
    new = tree(victim.path.parents[2]).keys() - before.keys() - {"plan.asked"}
    assert {name for name in new if "/.git/git-lob/" not in name} == set()
    return done


def arrived(victim: Work) -> bool:
    """Whether RIGHT came; nothing else waits for it then."""
    there = check(victim.content) == {SHA}
    assert not there or not victim.staging
    return there


def test_the_liar_can_tell_the_truth(victim: Work) -> None:
    """Else the tests below say nothing."""
    assert pull(victim, Plan(right())).returncode == 0
    assert arrived(victim)


OTHER = "another binary, whole and right"
FOREIGN = [
    "README", ".gitattributes", "config", "../config", "../../config", "../../../hooks/post-checkout", "../content/x", "..", ".", "a/../../x",
    "a/b/../../../../x", "/TMP/x", "//TMP/x", "-e", "--rsh=x", "new\nline", "new_0", "partial/x", f"partial/{SHA}_0", f".{SHA}_0.Ab12Cd",
    f"{SHA}_00", f"{SHA}_1", f"{SHA}_meta~", f"{SHA[:3]}/{SHA[3:6]}/../../../x", "\x1b]0;x\x07", "x" * 255, "x" * 300, "d/" * 60 + "x",
]  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN, ids=lambda name: ascii(name)[:30])
def test_a_name_that_nobody_asked_for_gets_nowhere(victim: Work, tmp_path: Path, name: str) -> None:
    name = name.replace("/TMP", str(tmp_path))
    done = pull(victim, Plan([*right(), Entry(name, "foreign", exact=True)]))
    assert arrived(victim) or done.returncode in (1, 2, 3, 4)
    assert not [at for at in tmp_path.rglob("*") if at.is_file() and at.read_bytes() == b"foreign"]


def test_a_binary_that_nobody_asked_for_is_not_taken(victim: Work) -> None:
    """Though it is what its name says."""
    more = [
        Entry(form, content.decode(), exact=True)
        for name, content in files_of(OTHER.encode()).items()
        for form in (name, name.rpartition("/")[2])
    ]
    pull(victim, Plan([*right(), *more, Entry(sha_of(b"x")[:3], mode=stat.S_IFDIR | 0o755, exact=True)]))
    assert shas_in(victim.content) <= {SHA}
    assert not victim.staging or not arrived(victim)


@pytest.mark.parametrize("where", ["the chunk", "its folder", "the folder above"])
@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFBLK], ids=oct)
def test_something_else_in_the_place_of_what_was_asked_for(victim: Work, where: str, kind: int) -> None:
    name = {"the chunk": f"{SHA}_0", "its folder": f"{SHA[:3]}/{SHA[3:6]}", "the folder above": SHA[:3]}[where]
    others = [entry for entry in right() if entry.name != name]
    done = pull(victim, Plan([*others, Entry(name, mode=kind | 0o777, exact=where != "the chunk")]))
    assert arrived(victim) or done.returncode in (1, 3)


@pytest.mark.parametrize("mode", [0o6755, 0o7777, 0, 0o222, 0o1000])
def test_a_mode_that_nobody_asked_for(victim: Work, mode: int) -> None:
    entries = right()
    for entry in entries:
        entry.mode = stat.S_IFREG | mode
    pull(victim, Plan(entries))
    assert arrived(victim)
    modes = {stat.S_IMODE(at.stat().st_mode) for at in victim.content.rglob(f"{SHA}_*")}
    assert all(not mode & 0o7000 and mode & 0o400 and not mode & 0o022 for mode in modes)


@pytest.mark.parametrize(
    "length", [0, 1, len(RIGHT) - 1, len(RIGHT) + 1, CHUNK, CHUNK + 1, 1 << 40, (1 << 63) - 1, -1, -(1 << 62)]
)
def test_a_length_that_is_not_that_of_what_comes(victim: Work, length: int) -> None:
    """The list says so, or the content has it."""
    entries = right()
    entries[0].length = length
    pull(victim, Plan(entries))
    again = right()
    again[0].content = (RIGHT.decode() * 2)[: max(0, min(length, 200_000))] if length != len(RIGHT) else "x"
    if not arrived(victim):
        pull(victim, Plan(again))
        assert not arrived(victim)


@pytest.mark.parametrize(
    "text",
    [
        f">f+++++++++|{'9' * 5000}|1|x\n", f">f+++++++++|-5|1|{SHA}_0\n", f"\r{'9' * 5000} 50%\r", f">f+++++++++|1|1|{SHA[:3]}/{SHA[3:6]}/{SHA}_meta\n" * 500,
        "\x1b]0;owned\x07\x1b[2J\n", "no line end", "\0\0\0", "\xff\u2028\u0085\n", "rsync error: some files could not be transferred (code 23)\n",
    ],
    ids=lambda text: ascii(text)[:30],
)  # fmt: skip
@pytest.mark.parametrize("kind", [hostile.INFO, hostile.ERROR], ids=["info", "error"])
def test_words_that_pass_for_rsync_s_own(victim: Work, kind: int, text: str) -> None:
    """A message of the far side stands among the reports of this one."""
    done = pull(victim, Plan(right(), messages=[(kind, text)]))
    assert arrived(victim)
    assert done.returncode == 0
    assert "owned" not in done.stderr


@pytest.mark.parametrize("end", ["whole", "partial", "broken off"])
def test_words_that_act_on_a_terminal(victim: Work, end: str) -> None:
    """ssh hands the far side's stderr on as it is."""
    plan = Plan(right(), stderr="\x1b]0;owned\x07\x1b[2J\x9b31m\r\n", code=0 if end == "whole" else 23)
    if end == "partial":
        plan.messages = [(hostile.ERROR_XFER, "rsync: \x1b]0;a file could not be read\n")]
    if end == "broken off":
        plan.then = "garbage"
    pull(victim, plan)  # which looks at what is printed
    assert arrived(victim) or end == "broken off"


def test_nonsense_in_the_place_of_a_list(victim: Work) -> None:
    done = pull(victim, Plan(then="garbage"))
    assert done.returncode in (1, 2, 4) and done.stderr.count("\n") == 1


def test_signs_of_life_and_nothing_else_are_given_up(victim: Work) -> None:
    done = pull(victim, Plan(then="hang"), "--timeout", "2")
    assert done.returncode == 4 and done.stderr.count("\n") == 1


def test_a_checkout_from_a_liar_leaves_placeholders(victim: Work, tmp_path: Path) -> None:
    """git itself asks here, through the filter."""
    plan = Plan([Entry(f"{SHA}_0", RIGHT.decode().upper()), *right()[1:]])
    plan.write(tmp_path / "plan")
    (victim.path / ".git" / "info").mkdir(exist_ok=True)
    (victim.path / ".git" / "info" / "attributes").write_text("*.bin filter=lob -text\n")
    victim.run("gitlob-setup", "-q", "--force")
    command = f"{sys.executable} -S {hostile.__file__} {tmp_path / 'plan'}"
    done = victim.run("git", "checkout", "-q", "main", "--", ".", env={"GIT_SSH_COMMAND": command})
    assert "1 file waits" in done.stderr and done.stderr.count("\n") == 1
    assert victim.read("a.bin") == placeholder(RIGHT)
    assert not shas_in(victim.content)


# The local store


@pytest.mark.parametrize("action", ["add", "pull", "checkout"])
@pytest.mark.parametrize("part", ["_0", "_meta"])
def test_a_link_in_the_place_of_a_store_s_file_is_replaced(
    work: Work, store: Path, outside: Path, action: str, part: str
) -> None:
    """Never read as the binary, never written through."""
    put(store, b"precious")
    put(work.content, b"precious")
    at = meta(work.content, b"precious") if part == "_meta" else chunk(work.content, b"precious")
    target = outside / "precious"
    if part == "_meta":
        target.write_bytes(at.read_bytes())
    at.unlink()
    at.symlink_to(target)
    work.write("a.bin", b"precious" if action == "add" else placeholder(b"precious"))
    with unchanged(outside):
        work.git("add", "a.bin")
        if action != "add":
            work.git("commit", "-qm", "x")
            work.sync("--checkout" if action == "checkout" else "--pull")
            assert work.read("a.bin") == b"precious"
    assert check(work.content) == {sha_of(b"precious")}
    assert not at.is_symlink() and at.stat().st_nlink == 1


def test_a_link_in_the_local_store_is_not_pushed(tmp_path: Path, store: Path, outside: Path) -> None:
    """It may lead to a file that is none of the repository's, though its hash be known."""
    work = repository(tmp_path / "work", store, {"a.bin": b"precious", "b.bin": b"abc"})
    chunk(work.content, b"precious").unlink()
    chunk(work.content, b"precious").symlink_to(outside / "precious")
    done = work.sync("--push", code=3)
    assert f"missing at origin ({store}): {sha_of(b'precious')}" in done.stderr
    assert check(store) == {sha_of(b"abc")}
    work.sync("--push", "--complete")
    assert check(store) == {sha_of(b"abc")}


@pytest.mark.parametrize("level", [0, 1])
def test_a_linked_folder_in_the_local_store_is_not_written_through(work: Work, outside: Path, level: int) -> None:
    sha = sha_of(b"content")
    parts = [sha[:3], sha[3:6]][: level + 1]
    at = work.content.joinpath(*parts)
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(outside)
    work.write("a.bin", b"content")
    with unchanged(outside):
        done = work.run("git", "add", "a.bin", code=128)
    assert "is not a folder" in done.stderr


@pytest.mark.parametrize("part", ["_0", "_meta"])
def test_what_blocks_whoever_opens_it_is_not_opened(tmp_path: Path, store: Path, part: str) -> None:
    put(store, b"abc")
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"})
    at = meta(work.content, b"abc") if part == "_meta" else chunk(work.content, b"abc")
    at.unlink()
    os.mkfifo(at)
    work.run("timeout", str(SECONDS), "gitlob-sync", "--push")
    work.run("timeout", str(SECONDS), "gitlob-sync", "--pull")
    assert check(work.content) == {sha_of(b"abc")}


def test_another_hard_link_to_a_store_s_file_keeps_its_bytes(tmp_path: Path, store: Path) -> None:
    put(store, b"abc")
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"})
    chunk(work.content, b"abc").write_bytes(b"ABC")
    os.link(chunk(work.content, b"abc"), tmp_path / "twin")
    work.sync("--pull", "--refetch")
    assert check(work.content) == {sha_of(b"abc")}
    assert (tmp_path / "twin").read_bytes() == b"ABC"


# A store that others can write


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("arguments", [["--push"], ["--push", "--complete"]], ids=" ".join)
def test_a_push_to_a_disk_of_ours_goes_through_no_linked_folder(
    tmp_path: Path, store: Path, outside: Path, level: int, arguments: list[str]
) -> None:
    """rsync before 3.5.0 would write where it leads."""
    sha = sha_of(b"abc")
    at = store.joinpath(*[sha[:3], sha[3:6]][: level + 1])
    at.parent.mkdir(parents=True)
    at.symlink_to(outside)
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"})
    with unchanged(outside):
        line = one_line(work.sync("-q", *arguments, code=1))
    assert str(at) in line


@pytest.mark.parametrize("part", ["_0", "_meta"])
def test_a_push_to_a_disk_of_ours_writes_through_no_linked_file(
    tmp_path: Path, store: Path, outside: Path, part: str
) -> None:
    put(store, b"abc")
    at = meta(store, b"abc") if part == "_meta" else chunk(store, b"abc")
    at.unlink()
    at.symlink_to(outside / "precious")
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"})
    with unchanged(outside):
        work.sync("--push")
    assert check(store) == {sha_of(b"abc")}


@pytest.mark.parametrize("name", ["gitlob", "gitlob/trash", "gitlob/lists"])
@pytest.mark.parametrize(
    "arguments",
    [["gitlob-purge", "--remote-store", "--grace", "0"], ["gitlob-sync", "--push", "--recheck"]],
    ids=" ".join,
)
def test_what_is_ours_beside_a_store_is_no_link(
    tmp_path: Path, store: Path, outside: Path, name: str, arguments: list[str]
) -> None:
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"})
    work.sync("--push")
    put(store, b"stray")
    for at in (chunk(store, b"stray"), meta(store, b"stray")):
        os.utime(at, (1, 1))
    at = store / name
    at.is_dir() and at.rename(outside / "er" / "kept")
    at.symlink_to(outside / "er")
    with unchanged(outside):
        done = work.run(*arguments, code=None)
    assert done.returncode in ((2,) if name == "gitlob" else (0, 1)) and "Traceback" not in done.stderr
    assert check(store) == {sha_of(b"abc"), sha_of(b"stray")} or name != "gitlob"


@pytest.mark.parametrize("kind", ["link", "folder", "fifo", "empty", "foreign", "huge", "odd name"])
def test_a_list_that_is_none_deletes_nothing(tmp_path: Path, store: Path, outside: Path, kind: str) -> None:
    """Whoever can write into a store can keep others from cleaning it, and no more."""
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"})
    work.sync("--push")
    put(store, b"needed by another clone")
    for at in (chunk(store, b"needed by another clone"), meta(store, b"needed by another clone")):
        os.utime(at, (1, 1))
    at = store / "gitlob" / "lists" / ("\x1b[2J" if kind == "odd name" else "0" * 24)
    if kind == "link":
        at.symlink_to(outside / "precious")
    elif kind == "folder":
        at.mkdir()
        (at / "x").write_text("x")
    elif kind == "fifo":
        os.mkfifo(at)
    else:
        at.write_bytes({"empty": b"", "huge": bytes(1 << 20)}.get(kind, b"#!/bin/sh\n"))
    done = work.run("timeout", str(SECONDS), "gitlob-purge", "--remote-store", "--grace", "1d", code=None)
    assert all(c.isprintable() or c == "\n" for c in done.stderr)
    if kind in ("link", "folder", "fifo", "odd name"):
        assert done.returncode == 0, "what is no file, or has no list's name, is none: no clone said anything"
    else:
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert sha_of(b"needed by another clone") in check(store)


# Modes


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(root: Path) -> tuple[set[int], set[int]]:
    """Those of the files of a store, and of its folders."""
    found = list(root.rglob("*"))
    files = {stat.S_IMODE(at.stat().st_mode) for at in found if at.is_file()}
    return files, {stat.S_IMODE(at.stat().st_mode) for at in found if at.is_dir()}


TEAMS = [
    (0o077, 0o2775),
    (0o002, 0o2775),
    (0o022, 0o2770),
    (0o077, 0o2770),
    (0o077, 0o755),
    (0o077, 0o700),
    (0o002, 0o700),
]
"""A umask, and the mode of a store's folder."""


@pytest.mark.parametrize(("mask", "root"), TEAMS, ids=lambda mode: f"{mode:o}")
@pytest.mark.parametrize("how", ["add", "pull", "already here"])
def test_a_shared_store_is_for_whom_its_folder_is_for(
    tmp_path: Path, store: Path, how: str, mask: int, root: int
) -> None:
    """And for whom the umask lets: its files are those of the local store, too."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(root)
    put(store, b"abc")
    work = init(tmp_path / "work", location=store)
    if how == "already here":
        with umask(mask):
            work.commit(a__bin=b"abc")
    with (work.path / ".git" / "config").open("a") as config:
        config.write(sharing(shared))
    with umask(mask):
        if how == "pull":
            commit(work, {"a.bin": b"abc"})
            work.sync("--pull", "--no-expand")
        else:
            work.commit(a__bin=b"abc", b__bin=b"def")
    files, folders = modes(shared)
    assert files == {0o666 & ~mask | root & 0o066}
    assert {mode & 0o777 for mode in folders} == {0o777 & ~mask | root & 0o077}
    assert not root & stat.S_ISGID or all(mode & stat.S_ISGID for mode in folders)
    assert stat.S_IMODE(shared.stat().st_mode) == root


@pytest.mark.parametrize(("mask", "root"), TEAMS, ids=lambda mode: f"{mode:o}")
def test_a_remote_store_on_a_disk_of_ours_is_for_whom_its_folder_is_for(
    tmp_path: Path, store: Path, mask: int, root: int
) -> None:
    """Whatever the umask."""
    store.mkdir(parents=True)
    store.chmod(root)
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"})
    with umask(mask):
        work.sync("--push")
    files, folders = modes(store)
    assert files == {root & 0o666}
    assert folders == {root}


def test_a_repository_s_own_modes_are_not_those_of_a_shared_store(tmp_path: Path) -> None:
    """Though its files are the same ones."""
    shared = tmp_path / "shared"
    put(shared, b"abc")
    chunk(shared, b"abc").chmod(0o664)
    work = repository(tmp_path / "work", tmp_path / "store", {"a.bin": b"abc"}, have=False, config=sharing(shared))
    work.git("config", "core.sharedRepository", "0600")
    assert work.json("--pull")["present"] == 1
    assert chunk(work.content, b"abc").samefile(chunk(shared, b"abc"))
    assert stat.S_IMODE(chunk(shared, b"abc").stat().st_mode) == 0o664


@pytest.mark.parametrize("what", ["files", "chunk", "folder"])
def test_files_of_a_shared_store_that_we_may_not_read_are_brought_anew(tmp_path: Path, store: Path, what: str) -> None:
    """git-lob leaves files that only their owner can read."""
    shared = tmp_path / "shared"
    put(shared, b"abc")
    put(store, b"abc")
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"}, have=False, config=sharing(shared))
    closed = {"files": [chunk(shared, b"abc"), meta(shared, b"abc")], "chunk": [chunk(shared, b"abc")]}
    for at in closed.get(what, [chunk(shared, b"abc").parent]):
        at.chmod(0)
    work.run(*UNPRIVILEGED, "gitlob-sync", "--pull")
    chunk(shared, b"abc").parent.chmod(0o755)
    assert check(work.content) == {sha_of(b"abc")}
