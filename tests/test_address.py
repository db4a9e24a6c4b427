"""What REDIS_URL may say. A fault is a sentence, and never repeats what may be a password."""

import pytest

from receiver import address
from receiver.address import Watched, read


@pytest.mark.parametrize("url", ["redis://h", "redis://:pw@h:1/2", "rediss://h:1?ssl_ca_certs=x", "unix:///s?db=1"])
def test_one_redis_is_left_to_redis_py(url: str) -> None:
    assert read(url) is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis+sentinel://a/m", Watched((("a", 26379),), "m")),
        ("redis+sentinel://a:1,b:2,c/my.master-1/3", Watched((("a", 1), ("b", 2), ("c", 26379)), "my.master-1", 3)),
        ("redis+sentinel://a/m/", Watched((("a", 26379),), "m")),
        ("redis+sentinel://[::1]:1,[fe80::2]/m", Watched((("::1", 1), ("fe80::2", 26379)), "m")),
        ("redis+sentinel://:p%40%2Fw@a:1/m", Watched((("a", 1),), "m", password="p@/w")),
        ("redis+sentinel://u%3A:p@a:1/m", Watched((("a", 1),), "m", username="u:", password="p")),
        ("redis+sentinel://a/m?sentinel_password=x%20y", Watched((("a", 26379),), "m", sentinel_password="x y")),
        (
            "redis+sentinel://a/m/1?sentinel_username=s&sentinel_password=p",
            Watched((("a", 26379),), "m", 1, sentinel_username="s", sentinel_password="p"),
        ),
    ],
)
def test_sentinels_and_the_name_of_their_master(url: str, expected: Watched) -> None:
    assert read(url) == expected
    assert "p@/w" not in repr(read(url))
    assert "x y" not in repr(read(url))


@pytest.mark.parametrize(
    ("rest", "word"),
    [
        ("", "no host:port"),
        ("/m", "no host:port"),
        ("a,/m", "no host:port"),
        ("a:0/m", "no host:port"),
        ("a:x/m", "no host:port"),
        ("a:70000/m", "no host:port"),
        ("[::1/m", "no host:port"),
        ("a b/m", "no host:port"),
        ("a#b/m", "no host:port"),
        ("a:1,b:2", "names no master"),
        ("a:1/", "names no master"),
        ("a:1/m%20", "names no master"),
        ("a:1,a:1/m", "names a sentinel twice"),
        ("a,b,a:26379/m", "names a sentinel twice"),
        ("a/m/x", "the number of a database"),
        ("a/m/1/2", "the number of a database"),
        ("a/m/-1", "the number of a database"),
        ("a/m?db=1", "takes no options"),
        ("a/m?x", "takes no options"),
        ("geheim@a/m", "a user without a password"),
        (":geheim@a:x/m", "no host:port"),
    ],
)
def test_anything_else_is_told_in_a_sentence(rest: str, word: str) -> None:
    with pytest.raises(ValueError, match=word) as caught:
        read(f"redis+sentinel://{rest}")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "h:6379", "http://h", "redis://h:0", "redis://h:x", "rediss+sentinel://a/m"])
def test_what_is_no_address_of_a_redis_hears_of_all_forms(url: str) -> None:
    with pytest.raises(ValueError, match="is no address of a Redis") as caught:
        read(url)
    assert all(form in str(caught.value) for form in ("redis://", "rediss://", "unix://", "redis+sentinel://"))


def test_the_default_port_is_the_sentinels_own() -> None:
    assert address.SENTINEL_PORT == 26379
