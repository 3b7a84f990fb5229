"""gitlob-setup --track: patterns that match nothing are refused, git's own files are excepted, and other lines are told."""

from pathlib import Path

import pytest

from tests.support.work import Work, init

READ = [".gitattributes", ".gitignore", ".gitmodules", ".mailmap", ".gitlobconfig", ".lfsconfig"]


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return init(tmp_path / "work", attributes="")


def filter_of(work: Work, *paths: str) -> list[str]:
    said = work.git("check-attr", "-z", "filter", "--", *paths).split(b"\0")[:-1]
    return [value.decode() for value in said[2::3]]


@pytest.mark.parametrize("pattern", ["*", ".*", ".git*", "**", ".[gl]*", "*s"])
@pytest.mark.parametrize("folder", [".", "sub"])
def test_what_git_reads_is_no_binary(work: Work, pattern: str, folder: str) -> None:
    (work.path / "sub").mkdir(exist_ok=True)
    for _ in range(2):
        work.run("gitlob-setup", "-q", "--track", pattern, cwd=folder)
    paths = [f"{folder}/{below}{name}" for name in READ for below in ("", "deeper/")]
    assert set(filter_of(work, *paths)) == {"unspecified"}
    lines = work.read(f"{folder}/.gitattributes").decode().splitlines()
    assert lines[0] == f"{pattern} filter=lob -text -merge" and len(lines) == len(set(lines))
    other = {"*": "x.dat", "**": "x.dat", "*s": "xs"}.get(pattern, ".gitx")
    assert filter_of(work, f"{folder}/{other}") == ["lob"]


def test_no_exception_is_written_where_none_is_needed(work: Work) -> None:
    work.run("gitlob-setup", "-q", "--track", "*.png", "assets/**")
    assert work.read(".gitattributes").count(b"\n") == 2


def test_exceptions_are_added_to_a_line_of_before(work: Work) -> None:
    work.write(".gitattributes", "* filter=lob -text -merge\n")
    work.run("gitlob-setup", "-q", "--track", "*")
    assert set(filter_of(work, *READ)) == {"unspecified"} and filter_of(work, "x") == ["lob"]


REFUSED = {
    "assets/": ["'assets/**'"],
    "assets": ["'assets/**'"],
    "assets/sub/": ["'assets/sub/**'"],
    "new/": ["'new/**'"],
    "./x": ["'x'"],
    "./*.png": ["'*.png'"],
    "./assets": ["'assets/**'"],
    "a//b": ["'a/b'"],
    "a/./b": ["'a/b'"],
    ".": ["'*'"],
    "*.{png,psd}": ["'*.png' '*.psd'"],
    "TOP/*.png": ["'*.png'"],
    "TOP/assets": ["'assets/**'"],
    "/usr/share/x.png": ["absolute"],
    "~/x/*.png": ["absolute"],
    "../x": ["out of the repository"],
    "a/../b": ["'b' in TOP"],
    ":(glob)**/x": ["'**/x'"],
    ":/x": ["'x'"],
    ".gitattributes": ["cannot be a binary"],
    "sub/.gitignore": ["cannot be a binary"],
    ".gitmodule[s]": ["cannot be a binary"],
    ".mailmap": ["cannot be a binary"],
    "C:/x/*.png": ["absolute Windows path"],
    "[abc": ["without a closing ]", r"'\[abc'"],
    "*.png\\": ["ends with a backslash", "'*.png'"],
    ".git/*.png": ["git's own folder"],
}


@pytest.mark.parametrize("pattern", REFUSED)
def test_a_pattern_that_matches_nothing_is_refused_with_the_form_that_would(work: Work, pattern: str) -> None:
    work.write("assets/sub/x.png", b"")
    done = work.run("gitlob-setup", "-q", "--track", pattern.replace("TOP", str(work.path)), code=2)
    assert done.stderr.count("\n") == 1
    for said in REFUSED[pattern]:
        assert said.replace("TOP", str(work.path)) in done.stderr
    assert work.read(".gitattributes") == b"" if (work.path / ".gitattributes").exists() else True


def test_what_is_named_from_a_folder_is_refused_with_where_it_would_do(work: Work) -> None:
    (work.path / "sub").mkdir()
    said = work.run("gitlob-setup", "-q", "--track", "../x.png", code=2, cwd="sub").stderr
    assert f"write 'x.png' in {work.path}" in said
    said = work.run("gitlob-setup", "-q", "--track", f"{work.path}/x.png", code=2, cwd="sub").stderr
    assert f"write 'x.png' in {work.path}" in said


@pytest.mark.parametrize(
    ("pattern", "path"),
    [("/x.png", "x.png"), ("[ab]*.bin", "a1.bin"), ("x.\\{a,b\\}", "x.{a,b}"), ("a/**/b.bin", "a/c/b.bin"), ("**/q", "d/q"),
     ("[[:digit:]].bin", "7.bin"), ("[!a].bin", "b.bin"), ("~x", "~x")],
)  # fmt: skip
def test_a_pattern_that_matches_is_taken(work: Work, pattern: str, path: str) -> None:
    assert work.run("gitlob-setup", "-q", "--track", pattern).stderr == ""
    assert filter_of(work, path) == ["lob"]


@pytest.mark.parametrize(
    ("line", "pattern"),
    [("*.png filter=lfs diff=lfs merge=lfs -text", "*.png"), ("art/** filter=lfs", "art/*.png"),
     ("*.[pj]* filter=other", "x.[j]pg"), ("[attr]large filter=lfs\n*.bin large", "*.bin")],
)  # fmt: skip
def test_another_filter_for_the_same_files_is_told(work: Work, line: str, pattern: str) -> None:
    work.write(".gitattributes", f"{line}\n*.txt text\n")
    (said,) = work.run("gitlob-setup", "-q", "--track", pattern).stderr.splitlines()
    assert f"the line {line.splitlines()[-1]!r} of .gitattributes" in said and "renormalize" in said
    assert ("filter=other" if "other" in line else "filter=lfs") in said


@pytest.mark.parametrize("behind", ["*.png -filter", "x* filter=lfs", "* !filter"])
@pytest.mark.parametrize("where", [".gitattributes", "sub/.gitattributes", ".git/info/attributes"])
def test_a_line_that_has_the_last_word_is_told(work: Work, behind: str, where: str) -> None:
    work.run("gitlob-setup", "-q", "--track", "*.png")
    work.write(where, ("*.png filter=lob -text -merge\n" if where == ".gitattributes" else "") + f"{behind}\n")
    work.git("add", "-A")
    for args in (["-n"], []):
        (said,) = work.run("gitlob-setup", "-q", *args, "--track", "*.png").stderr.splitlines()
        assert "overrides" in said and (f"{behind!r} of {where}" in said or where in said)
    assert filter_of(work, {"sub/.gitattributes": "sub/x.png"}.get(where, "x.png")) != ["lob"]
