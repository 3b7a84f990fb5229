"""Locations: every form is read and written again, and nothing hostile becomes an option or another place."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitlob_rsync.errors import UsageError
from gitlob_rsync.location import Kind, ask_about, looks_like_location, parse
from tests.support.locations import BASE, check_place


@pytest.mark.parametrize(
    ("text", "kind", "host", "port", "argument"),
    [
        ("/srv/store", Kind.PATH, "", None, "/srv/store/"),
        ("/srv//a/../store/", Kind.PATH, "", None, "/srv/store/"),
        ("/", Kind.PATH, "", None, "/"),
        ("store", Kind.PATH, "", None, "/base/folder/store/"),
        ("./-x", Kind.PATH, "", None, "/base/folder/-x/"),
        ("../store", Kind.PATH, "", None, "/base/store/"),
        (".", Kind.PATH, "", None, "/base/folder/"),
        ("./nas:x", Kind.PATH, "", None, "/base/folder/nas:x/"),
        ("/a:b/c", Kind.PATH, "", None, "/a:b/c/"),
        ("folder/nas:x", Kind.PATH, "", None, "/base/folder/folder/nas:x/"),
        ("file:///srv/store", Kind.PATH, "", None, "/srv/store/"),
        (" /a b ", Kind.PATH, "", None, "/base/folder/ /a b /"),
        ("nas:/srv/store", Kind.SSH, "nas", None, "nas:/srv/store/"),
        ("nas:store", Kind.SSH, "nas", None, "nas:store/"),
        ("nas:~/store", Kind.SSH, "nas", None, "nas:~/store/"),
        ("nas:-x", Kind.SSH, "nas", None, "nas:./-x/"),
        ("nas:a:b", Kind.SSH, "nas", None, "nas:a:b/"),
        ("me@nas.example.org:/srv", Kind.SSH, "me@nas.example.org", None, "me@nas.example.org:/srv/"),
        ("[fe80::1%eth0]:/srv", Kind.SSH, "[fe80::1%eth0]", None, "[fe80::1%eth0]:/srv/"),
        ("ssh://nas/srv", Kind.SSH, "nas", None, "nas:/srv/"),
        ("ssh://me@nas:2222/srv/store/", Kind.SSH, "me@nas", 2222, "me@nas:/srv/store/"),
        ("ssh://nas:22/~/store", Kind.SSH, "nas", 22, "nas:store/"),
        ("ssh://nas/~/-x", Kind.SSH, "nas", None, "nas:./-x/"),
        ("ssh://[::1]:22/srv", Kind.SSH, "[::1]", 22, "[::1]:/srv/"),
        ("rsync://nas/module", Kind.DAEMON, "nas", None, "rsync://nas/module/"),
        (
            "rsync://me@nas:8730/module/a b/",
            Kind.DAEMON,
            "me@nas",
            8730,
            "rsync://me@nas:8730/module/a b/",
        ),
        ("rsync://[::1]:8730/m/x", Kind.DAEMON, "[::1]", 8730, "rsync://[::1]:8730/m/x/"),
        ("ssh://nas:000022/srv", Kind.SSH, "nas", 22, "nas:/srv/"),
        ("ssh://nas:0000022/srv", Kind.SSH, "nas", 22, "nas:/srv/"),
        ("nas::module/path", Kind.DAEMON, "nas", None, "rsync://nas/module/path/"),
        ("me@nas::module", Kind.DAEMON, "me@nas", None, "rsync://me@nas/module/"),
        ("DOMAIN\\me$@nas:/x", Kind.SSH, "DOMAIN\\me$@nas", None, "DOMAIN\\me$@nas:/x/"),
        ("me@corp.example@nas:/x", Kind.SSH, "me@corp.example@nas", None, "me@corp.example@nas:/x/"),
        ("ssh://me@corp.example@nas:22/x", Kind.SSH, "me@corp.example@nas", 22, "me@corp.example@nas:/x/"),
        ("rsync://me@corp.example@nas/m", Kind.DAEMON, "me@corp.example@nas", None, "rsync://me@corp.example@nas/m/"),
        ("file://localhost/srv/store", Kind.PATH, "", None, "/srv/store/"),
        ("ssh://nas/~bob/x", Kind.SSH, "nas", None, "nas:~bob/x/"),
        ("ssh://nas/~bob", Kind.SSH, "nas", None, "nas:~bob/"),
        ("ssh://nas//~bob/x", Kind.SSH, "nas", None, "nas:/~bob/x/"),
        ("ssh://nas/~/~bob/x", Kind.SSH, "nas", None, "nas:./~bob/x/"),
        ("ssh://n/srv", Kind.SSH, "n", None, "n:/srv/"),
        ("x@nas:/y", Kind.SSH, "x@nas", None, "x@nas:/y/"),
    ],
)
def test_a_form_is_read(text: str, kind: Kind, host: str, port: int | None, argument: str) -> None:
    place = parse(text, BASE)
    assert (place.kind, place.host, place.port) == (kind, host, port)
    assert place.rsync_argument() == argument


def test_a_home_folder(tmp_path: Path) -> None:
    assert parse("~/store").path == f"{tmp_path}/home/store"


def test_a_relative_path_counts_from_here(tmp_path: Path) -> None:
    assert parse("store").path == f"{tmp_path}/store"


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "\t", "-x", "--rsh=x", "-e/bin/sh:x", "-oProxyCommand=x:/y", "-x::m", "me@-x:/y", "-me@nas:/y", "a\nb", "a\0b",
        "nas:/a\rb", "nas:/\x1b[2J", "ssh://nas/a\nb", "/a\x7f", "nas:", "nas:/", "nas:///", "nas::", "nas::/", ":/x", "::m",
        "@nas:/x", "a@@c:/x", "@b@c:/x", "a@b\\@c:/x", "-a@b@c:/x", "a@-c:/x", "me@:/x", "na s:/x", "ssh://", "ssh:///x", "ssh://nas", "ssh://nas/", "ssh://nas//", "ssh://nas/~/",
        "ssh://-x/y", "ssh://me@-x/y", "ssh://-me@nas/y", "ssh://nas:/x", "ssh://nas:0/x", "ssh://nas:65536/x", "ssh://nas:-1/x",
        "ssh://nas:2 2/x", "ssh://nas:x/y", "ssh://me:secret@nas/x", "ssh://na s/x", "ssh://[::1/x", "ssh://::1/x",
        "ssh://[-x]/y", "[-oProxyCommand=x]:/y", "rsync://", "rsync://nas", "rsync://nas/", "rsync://nas//x", "rsync://-x/m",
        "rsync://nas:99999999999/m", "http://nas/x", "s3://bucket/x", "git+ssh://nas/x", "ssh+rsync://nas/x", "SSH://nas/x",
        "ssh://nas:" + "9" * 5000 + "/x", "`touch x`:/y", "$(touch$IFS.x):/y", "ssh://nas;x/y", "rsync://na|s/m", "a'b::m", "me;x@nas:/y",
        "ssh://{x}@nas/y", "nas\\x:/y", "me\\@nas:/y", "&nas:/x", "a<b:/x", "ssh://$nas/x", "[:-:1]:/x",
        "[fe80::1%]:/x", "ssh://[fe80::1%a:b]/x", "rsync://[::nas]/m",
    ],
    ids=lambda text: ascii(text)[:30],
)  # fmt: skip
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text, BASE)
    assert "\n" not in caught.value.line()
    assert "a location is PATH" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    ["/srv/store", "nas:/srv", "nas:srv", "nas:-x", "me@nas:~/x", "ssh://nas:22/srv", "ssh://nas:22/~/srv", "ssh://nas:22/~/~/x",
     "ssh://nas/~/srv", "ssh://nas/~/:x", "ssh://nas/~/:x/y", "rsync://nas/m/x", "rsync://me@nas:873/m", "nas::m/x", "[::1]:/x",
     "rsync://[::1]/m/x", "ssh://nas//srv", "ssh://nas/~//srv", "nas:a//b/", "/srv://x", "rsync://nas:873/m//./x", "nas::m/./-x",
     "nas:/.x", "ssh://nas:22//~/x", "ssh://nas:22/~", "ssh://nas:22/~bob/x", "ssh://nas/~bob", "ssh://nas:22//~bob",
     "ssh://nas:22/~/~bob/x", "ssh://nas/~/~bob/x", "ssh://n/srv", "n:srv", "me@corp.example@nas:x", "file://localhost/srv"],
)  # fmt: skip
def test_what_is_written_is_read_as_the_same_place(text: str) -> None:
    place = parse(text, BASE)
    again = parse(str(place), "/somewhere/else")
    assert again.rsync_argument() == place.rsync_argument()
    assert (again.kind, again.host, again.port) == (place.kind, place.host, place.port)
    assert str(again) == str(place)


def test_one_place_has_one_name() -> None:
    """The record of what was pushed goes by it."""
    for one, other in (
        ("/srv/store", "/srv/./store/"),
        ("nas::m/x", "rsync://nas/m/x"),
        ("nas::m/x", "rsync://nas/m/x/"),
        ("ssh://nas/srv", "nas:/srv"),
        ("ssh://nas/srv", "nas:/srv/"),
        ("ssh://nas:22/srv/store", "ssh://nas:22/srv/store/"),
        ("nas::m/x", "rsync://nas/m//./x"),
        ("nas::m/x", "rsync://nas/m/.//.//./x/."),
        ("nas::m", "rsync://nas/m/."),
        ("nas:/srv", "nas:/.//srv/./"),
        ("nas:srv", "nas:srv/."),
        ("nas:/.x/..y/z.", "nas:/.x//..y/./z."),
        ("nas:~bob/x", "ssh://nas/~bob/x"),
        ("/srv/store", "file://localhost/srv/store"),
    ):
        assert str(parse(one)) == str(parse(other)), (one, other)


@pytest.mark.parametrize("text", ["C:/x", "c:\\x", "\\\\nas\\share", "\\nasshare"])
def test_what_windows_calls_a_place_is_asked_about(text: str) -> None:
    """It is neither a host nor made into a folder."""
    with pytest.raises(UsageError) as caught:
        parse(text, BASE)
    assert "Windows" in caught.value.line() and "./" in caught.value.hint and "HOST" in caught.value.hint.upper()


@pytest.mark.parametrize("text", ["file://nas/x", "file://x", "file://", "file://-x/y"])
def test_a_file_of_another_machine_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text, BASE)
    assert "file:///PATH" in caught.value.line()


@pytest.mark.parametrize("text", ["~nobody-of-this-name/x", "file:/x", "ssh://nas/~/"])
def test_what_would_become_another_place_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text, BASE)


def test_a_host_with_a_slash_is_asked_about(tmp_path: Path) -> None:
    for text, better in {"nas/": "nas:PATH", "me@nas/srv/x": "me@nas:srv/x", "//nas/share": "HOST:PATH"}.items():
        with pytest.raises(UsageError) as caught:
            ask_about(text, str(tmp_path))
        assert better in caught.value.hint
    assert parse("//nas/share") == parse("/nas/share")


def test_a_bare_word_is_asked_about_unless_it_is_a_folder(tmp_path: Path) -> None:
    for word in ("nas", "nas.example.org", "store", "me@nas"):
        with pytest.raises(UsageError) as caught:
            ask_about(word, str(tmp_path))
        assert f"{word}:PATH" in caught.value.hint and f"./{word}" in caught.value.hint
        (tmp_path / word).mkdir()
        ask_about(word, str(tmp_path))
    for text in ("/x", "./x", "../x", "~/x", "a/b", "nas:x", "ssh://nas/x", "", "-x", ".", "..", "`evil`", "a b"):
        ask_about(text, str(tmp_path))


def test_what_can_only_be_a_location() -> None:
    for text in ("/x", "./x", "../x", ".", "..", "~/x", "nas:x", "nas::m", "ssh://nas/x"):
        assert looks_like_location(text)
    for text in ("origin", "feature/x", "main", "v1.0"):
        assert not looks_like_location(text)


HOSTS = st.one_of(
    st.sampled_from(
        ["nas", "-x", "-oProxyCommand=touch x", "me@nas", "me@-x", "-me@nas", "[::1]", "[-x]", "@", "", "a@b@c", " -x"]
    ),
    st.text(alphabet="ab-@:/[]. %=\n\t\x00", max_size=8),
)
PATHS = st.one_of(
    st.sampled_from(
        ["", "/", "-x", "/-x", "~", "~/-x", "../x", ":x", "::m", "--rsh=x", "m/x", "//m", "\udcff", "x\ny"]
    ),
    st.text(alphabet="ab-@:/~. $`'\"\\\n\x1b", max_size=8),
)
FORMS = st.sampled_from(["{1}", "{0}:{1}", "{0}::{1}", "ssh://{0}/{1}", "ssh://{0}:{2}/{1}", "rsync://{0}/{1}", "rsync://{0}:{2}/{1}",
                         "file://{1}", "ssh://{0}/~/{1}", "{0}/{1}", "x://{0}/{1}"])  # fmt: skip
PORTS = st.one_of(st.integers(-2, 70000).map(str), st.sampled_from(["", "-1", "x", "٣", "0x16", "9" * 5000]))


@settings(max_examples=2000, deadline=None)
@given(FORMS, HOSTS, PATHS, PORTS)
@example("ssh://{0}/~/{1}", "nas", ":x", "22")
@example("ssh://{0}/{1}", "nas", "//x", "22")
@example("ssh://{0}:{2}/{1}", "nas", "x", "9" * 5000)
def test_nothing_becomes_an_option_or_another_place(form: str, host: str, path: str, port: str) -> None:
    check_place(form.format(host, path, port))
