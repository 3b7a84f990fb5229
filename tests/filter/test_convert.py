"""clean and smudge, file by file: what they write is git-lob's, byte for byte."""

import hashlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.handmade import CHUNK, check, files_of, placeholder, put, sha_of, shas_in
from tests.support.work import Work, init


def clean(work: Work, content: bytes, path: str = "a.bin") -> bytes:
    done = subprocess.run(["gitlob-filter", "clean", "--", path], cwd=work.path, input=content, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def smudge(work: Work, content: bytes, path: str = "a.bin") -> tuple[bytes, bytes]:
    done = subprocess.run(["gitlob-filter", "smudge", "--", path], cwd=work.path, input=content, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def content_of(size: int) -> bytes:
    return (hashlib.sha256(b"%d" % size).digest() * (size // 32 + 1))[:size]


@pytest.mark.parametrize("size", [0, 1, 48, 49, 50, 100_000, CHUNK, CHUNK + 1])
def test_clean_writes_the_bytes_of_the_format(work: Work, size: int) -> None:
    content = content_of(size)
    assert clean(work, content) == placeholder(content)
    stored = {str(at.relative_to(work.content)): at.read_bytes() for at in work.content.glob("???/???/*")}
    assert stored == files_of(content)
    assert smudge(work, placeholder(content)) == (content, b"")
    assert not work.staging


def test_two_hundred_mebibytes(work: Work) -> None:
    content = content_of(200 * 1024 * 1024)
    assert clean(work, content) == placeholder(content)
    assert check(work.content) == {placeholder(content)[9:].decode()}
    assert smudge(work, placeholder(content))[0] == content


def test_a_store_made_by_hand_is_read(work: Work) -> None:
    content = content_of(CHUNK + 5)
    put(work.content, content)
    assert smudge(work, placeholder(content))[0] == content


@pytest.mark.smoke
def test_a_placeholder_passes_through_clean(work: Work) -> None:
    for text in (placeholder(b"x"), b"git-lob: " + placeholder(b"x")[9:].upper()):
        assert clean(work, text) == text
    assert not [*work.content.rglob("*")]


@pytest.mark.parametrize(
    "text", [placeholder(b"x") + b"\n.", placeholder(b"x")[:-1], b"git-lob: ", placeholder(b"x") * 2]
)
def test_what_only_resembles_a_placeholder_is_content(work: Work, text: bytes) -> None:
    put(work.content, b"x")
    assert clean(work, text) == placeholder(text)
    assert smudge(work, text) == (text, b"")


TOUCHED_UP = [
    placeholder(b"x") + b"\n",
    placeholder(b"x") + b"\r\n",
    b"\xef\xbb\xbf" + placeholder(b"x"),
    b"\n" + placeholder(b"x").upper().replace(b"GIT-LOB", b"git-lob") + b" \t\n\n",
]


@pytest.mark.parametrize("text", TOUCHED_UP)
@pytest.mark.parametrize("how", ["process", "clean"])
def test_a_placeholder_that_an_editor_touched_is_refused(work: Work, text: bytes, how: str) -> None:
    """It is not what the file is to hold: its content would be lost to who commits it."""
    if how == "clean":
        work.git("config", "--unset", "filter.lob.process")
    work.write("sub/a file.bin", text)
    failed = work.run("git", "add", "-A", code=128).stderr
    assert "sub/a file.bin waits for its content" in failed and "git checkout -- " in failed
    assert not shas_in(work.content) and not work.staging
    assert "git checkout -- ':/sub/a file.bin' undoes it" in failed
    assert "git-lob.allow-near-placeholder=true add ':/sub/a file.bin'" in failed
    work.git("-c", "git-lob.allow-near-placeholder=true", "add", "-A")
    assert work.git("show", ":sub/a file.bin") == placeholder(text)
    work.git("update-index", "--refresh", "--really-refresh")
    assert clean(work, text) == placeholder(text), "what is committed already is content"
    assert smudge(work, text) == (text, b"")


def test_a_tracked_file_cannot_have_touched_up_placeholders_taken(work: Work) -> None:
    work.write(".gitlobconfig", "[git-lob]\n\tallow-near-placeholder = true\n")
    work.write("a.bin", TOUCHED_UP[0])
    work.run("git", "add", "-A", code=128)


def test_the_way_out_of_a_touched_up_placeholder(work: Work) -> None:
    work.commit(a__bin=b"x")
    work.write("a.bin", TOUCHED_UP[0])
    assert work.json("--checkout", "--offline")["left_alone"] == 1
    work.git("checkout", "--", "a.bin")
    assert work.read("a.bin") == b"x"


READ_BY_NAME = [".gitattributes", "sub/.gitignore", ".gitmodules", ".mailmap", ".gitlobconfig", ".lfsconfig"]


@pytest.mark.parametrize("how", ["process", "clean"])
def test_what_git_reads_by_its_name_is_never_a_binary(work: Work, how: str) -> None:
    if how == "clean":
        work.git("config", "--unset", "filter.lob.process")
        work.git("config", "--unset", "filter.lob.required")
    work.write(".git/info/attributes", "* filter=lob -text\n")
    large = b"# comment\n" * 400_000
    for name in READ_BY_NAME:
        work.write(name, large if name == "sub/.gitignore" else b"# " + name.encode())
    work.write("sub/x.dat", b"x")
    work.commit()
    for name in READ_BY_NAME:
        assert work.git("show", f"HEAD:{name}") == work.read(name)
    assert work.git("show", "HEAD:sub/x.dat") == placeholder(b"x")
    assert shas_in(work.content) == {sha_of(b"x")}


@pytest.mark.parametrize("how", ["process", "clean"])
def test_what_git_reads_and_was_committed_as_a_placeholder_is_told_of(work: Work, how: str) -> None:
    """It is checked out as it is in git: the file would count as changed else, and stop each checkout."""
    put(work.content, b"*.o\n")
    work.write(".git/info/attributes", ".gitignore -filter\n")
    work.write(".gitignore", placeholder(b"*.o\n"))
    work.commit()
    work.write(".git/info/attributes", "* filter=lob -text\n")
    if how == "clean":
        work.git("config", "--unset", "filter.lob.process")
    (work.path / ".gitignore").unlink()
    told = work.run("git", "checkout", "--", ".gitignore").stderr
    if how == "process":
        assert ".gitignore was committed as a placeholder" in told
    assert work.read(".gitignore") == placeholder(b"*.o\n")
    assert "commit its content" in work.sync("--checkout", "--offline", "-v").stderr
    assert work.read(".gitignore") == placeholder(b"*.o\n")
    assert work.git("status", "--porcelain") == b""
    assert smudge(work, placeholder(b"*.o\n"))[0] == b"*.o\n"


def test_a_pipe_may_deliver_the_placeholder_in_pieces(work: Work) -> None:
    put(work.content, b"x")
    process = subprocess.Popen(
        ["gitlob-filter", "smudge", "--", "a.bin"], cwd=work.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin and process.stdout
    for piece in (placeholder(b"x")[:3], placeholder(b"x")[3:30], placeholder(b"x")[30:]):
        process.stdin.write(piece)
        process.stdin.flush()
        time.sleep(0.1)
    process.stdin.close()
    assert process.stdout.read() == b"x"
    assert process.wait() == 0


def test_a_missing_or_damaged_binary_leaves_its_placeholder(work: Work) -> None:
    out, err = smudge(work, placeholder(b"x"))
    assert out == placeholder(b"x")
    assert b"gitlob-sync --checkout" in err and err.count(b"\n") == 1
    put(work.content, b"x")
    chunk = work.content / next(name for name in files_of(b"x") if name.endswith("_0"))
    chunk.write_bytes(b"y")
    assert smudge(work, placeholder(b"x"))[0] == placeholder(b"x")


def test_a_single_smudge_brings_what_is_missing(work: Work, store: Path) -> None:
    """Its standard input is at its end by then, which is no sign that git died."""
    put(store, b"elsewhere")
    assert smudge(work, placeholder(b"elsewhere")) == (b"elsewhere", b"")


def test_the_same_bytes_are_not_written_again(work: Work) -> None:
    clean(work, b"same")
    before = {at: (at.stat().st_ino, at.stat().st_mtime_ns) for at in work.content.glob("???/???/*")}
    assert clean(work, b"same") == placeholder(b"same")
    after = {at: (at.stat().st_ino, at.stat().st_mtime_ns) for at in work.content.glob("???/???/*")}
    assert {at: inode for at, (inode, _) in after.items()} == {at: inode for at, (inode, _) in before.items()}
    younger = [at.name for at in after if after[at] != before[at]]
    assert younger == [f"{sha_of(b'same')}_meta"], "a purge's grace time counts from now on"


def test_an_incomplete_binary_is_made_whole(work: Work) -> None:
    put(work.content, b"torn")
    (work.content / next(name for name in files_of(b"torn") if name.endswith("_0"))).write_bytes(b"t")
    clean(work, b"torn")
    assert check(work.content) == {placeholder(b"torn")[9:].decode()}


@pytest.mark.parametrize("size", [3, 3_000_000, 5_000_000, CHUNK + 5])
def test_a_binary_that_is_damaged_here_is_made_sound(work: Work, size: int) -> None:
    """Its size is right. What is added may be the last sound copy."""
    content = content_of(size)
    put(work.content, content)
    chunk = work.content / [name for name in files_of(content) if not name.endswith("meta")][-1]
    with chunk.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(bytes([content[-1] ^ 1]))
    assert clean(work, content) == placeholder(content)
    assert check(work.content) == {placeholder(content)[9:].decode()}
    assert not work.staging


def test_git_add_and_checkout_through_the_filter(work: Work) -> None:
    work.commit(a__bin=b"one", text="text\n")
    work.commit(a__bin=b"two")
    assert work.git("show", "HEAD:a.bin") == placeholder(b"two")
    assert work.git("show", "HEAD:text") == b"text\n"
    work.git("checkout", "-q", "HEAD~1")
    assert work.read("a.bin") == b"one"
    work.git("checkout", "-q", "main")
    assert work.read("a.bin") == b"two"
    assert work.git("status", "--porcelain") == b""


def test_paths_with_a_dash_or_a_quote_reach_the_filter(work: Work) -> None:
    work.write(b"-x.bin", b"dash")
    work.write(b"it's; $(touch pwned).bin", b"quote")
    work.commit()
    assert work.git("show", "HEAD:-x.bin") == placeholder(b"dash")
    assert not (work.path / "pwned").exists()


def test_eight_at_once_on_the_same_content(work: Work) -> None:
    content = content_of(3_000_000)
    running = [
        subprocess.Popen(
            ["gitlob-filter", "clean", "--", "a.bin"], cwd=work.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(8)
    ]
    for process in running:
        assert process.stdin
        process.stdin.write(content)
        process.stdin.close()
    for process in running:
        assert process.stdout and process.stdout.read() == placeholder(content)
        assert process.wait() == 0
    assert check(work.content) == {placeholder(content)[9:].decode()}
    assert not work.staging


def test_a_killed_clean_leaves_nothing_behind_for_long(work: Work) -> None:
    process = subprocess.Popen(
        ["gitlob-filter", "clean", "--", "a.bin"], cwd=work.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin and process.stdout
    process.stdin.write(content_of(9_000_000))
    process.stdin.flush()
    deadline = time.monotonic() + 10
    while not any(list(folder.iterdir()) for folder in work.staging):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not shas_in(work.content)
    clean(work, b"next")
    assert not work.staging


def test_the_store_is_shared_where_one_is_configured(work: Work, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    work.git("config", "git-lob.sharedstore", str(shared))
    clean(work, b"both")
    assert check(shared) == check(work.content) == {placeholder(b"both")[9:].decode()}
    assert {at.stat().st_nlink for at in shared.glob("???/???/*")} == {2}


def test_modes_follow_the_umask_and_shared_repositories(tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        private = init(tmp_path / "private")
        clean(private, b"x")
        team = init(tmp_path / "team")
        team.git("config", "core.sharedRepository", "group")
        clean(team, b"x")
    finally:
        os.umask(mask)
    assert {at.stat().st_mode & 0o7777 for at in private.content.glob("???/???/*")} == {0o600}
    assert {at.stat().st_mode & 0o7777 for at in team.content.glob("???/???/*")} == {0o660}
    assert {at.stat().st_mode & 0o7777 for at in [*team.content.glob("???"), *team.content.glob("???/???")]} == {0o2770}
