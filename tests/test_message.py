"""Reading is strict: what has two readings is refused, and nothing raises any other error."""

from datetime import UTC, datetime
from typing import Any

import pytest

from receiver.errors import Malformed, Reason
from receiver.message import CallbackRequest, Level, Literal, Media, decode_json, decode_pairs


def request(
    *, query: bytes = b"", body: bytes = b"", media: Media | None = None, encoding: str = "utf-8"
) -> CallbackRequest:
    method = "POST" if media else "GET"
    return CallbackRequest("x", method, query, body, media, datetime(2026, 11, 22, tzinfo=UTC), "id", encoding)


def reason_of(call: Any, *args: Any) -> Reason:
    with pytest.raises(Malformed) as caught:
        call(*args)
    return caught.value.reason


def test_pairs_come_in_the_order_sent() -> None:
    pairs = decode_pairs(b"b=2&a=1&b=3&c&=x&&d=", ("utf-8",))

    assert pairs == [("b", "2"), ("a", "1"), ("b", "3"), ("c", ""), ("", "x"), ("d", "")]


def test_plus_and_percent_are_undone_once() -> None:
    assert decode_pairs(b"a+b=%2B+%252B%3D", ("utf-8",)) == [("a b", "+ %2B=")]


@pytest.mark.parametrize("raw", [b"a=%", b"a=%z1", b"a=%1", b"a=100%"])
def test_a_percent_sign_that_begins_no_escape_stays_as_it_is(raw: bytes) -> None:
    assert decode_pairs(raw, ("utf-8",)) == [("a", raw[2:].decode())]


@pytest.mark.parametrize("raw", [b"a=%FE", b"a=\xfe", b"%ff=a", b"a=%ed%a0%80", b"a=%c0%80", b"a=%f5%80%80%80"])
def test_what_is_not_utf_8_is_malformed(raw: bytes) -> None:
    assert reason_of(decode_pairs, raw, ("utf-8",)) is Reason.BAD_ENCODING


def test_the_first_encoding_that_fits_is_taken_for_each_field() -> None:
    both = ("utf-8", "windows-1254")

    assert decode_pairs(b"a=%C5%9F&b=%FE", both) == [("a", "ş"), ("b", "ş")]
    assert reason_of(decode_pairs, b"a=%FE%81", both) is Reason.BAD_ENCODING


def test_a_field_twice_is_malformed_even_with_equal_values() -> None:
    assert reason_of(request(body=b"a=1&a=1", media=Media.FORM).fields) is Reason.DUPLICATE_FIELD
    assert reason_of(request(query=b"a=1&%61=2").fields) is Reason.DUPLICATE_FIELD


@pytest.mark.parametrize(("media", "body"), [(Media.FORM, b"a=1"), (Media.JSON, b'{"a": 1}')], ids=["form", "json"])
def test_a_name_in_query_and_body_is_malformed(media: Media, body: bytes) -> None:
    assert reason_of(request(query=b"a=1", body=body, media=media).fields) is Reason.DUPLICATE_FIELD
    assert request(query=b"b=1", body=body, media=media).fields() == {"a": "1"}


def test_a_query_that_cannot_be_read_spoils_the_post() -> None:
    assert reason_of(request(query=b"%ff", body=b"a=1", media=Media.FORM).fields) is Reason.BAD_ENCODING
    assert reason_of(request(query=b"q&q", body=b"a=1", media=Media.FORM).fields) is Reason.DUPLICATE_FIELD


def test_a_form_is_read_in_its_own_charset() -> None:
    assert request(body=b"a=%FE%FD%F0", media=Media.FORM, encoding="iso-8859-9").fields() == {"a": "şığ"}


def test_a_json_number_stays_as_it_was_written() -> None:
    fields = decode_json(b'{"a": 1.00, "b": 1, "c": 1e3, "d": -0, "e": 12345678901234567890123}', "utf-8")

    assert fields == {"a": "1.00", "b": "1", "c": "1e3", "d": "-0", "e": "12345678901234567890123"}
    assert all(isinstance(value, Literal) for value in fields.values())


def test_the_other_json_values_keep_their_type() -> None:
    fields = decode_json(b'{"a": true, "b": null, "c": "1", "d": [1], "e": {}}', "utf-8")

    assert fields == {"a": True, "b": None, "c": "1", "d": ["1"], "e": {}}
    assert not isinstance(fields["c"], Literal)


def test_a_byte_order_mark_is_no_content() -> None:
    assert decode_json(b'\xef\xbb\xbf{"a": "1"}', "utf-8") == {"a": "1"}


@pytest.mark.parametrize("raw", [b'{"a": 1, "a": 1}', b'{"b": {"a": 1, "\\u0061": 2}}'])
def test_a_json_key_twice_is_malformed_at_any_depth(raw: bytes) -> None:
    assert reason_of(decode_json, raw, "utf-8") is Reason.DUPLICATE_FIELD


@pytest.mark.parametrize(
    "raw",
    [
        *(
            b"",
            b" ",
            b"{",
            b"[]",
            b'"a"',
            b"1",
            b"null",
            b"{'a': 1}",
            b'{"a": 1,}',
            b'{"a": 1} x',
            b'{"a": 01}',
            b"a=1",
        ),
        *(b'{"a": NaN}', b'{"a": Infinity}', b'{"a": -Infinity}', b'{"a": "\n"}', b'{"a": "\x00"}'),
        *(b"[" * 60_000, b'{"a":' * 10_000, b'{"a": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"),
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_what_is_no_json_object_is_malformed(raw: bytes) -> None:
    assert reason_of(decode_json, raw, "utf-8") is Reason.BAD_BODY


@pytest.mark.parametrize(
    "raw", [b'{"a": "\\ud800"}', b'{"\\udfff": 1}', b'{"a": ["\\ud83d"]}', b'{"a": "\xed\xa0\x80"}']
)
def test_half_a_surrogate_pair_is_no_text(raw: bytes) -> None:
    assert reason_of(decode_json, raw, "utf-8") is Reason.BAD_ENCODING


def test_a_whole_surrogate_pair_is_text() -> None:
    assert decode_json(b'{"a": "\\ud83d\\ude00"}', "utf-8") == {"a": "😀"}


@pytest.mark.parametrize("raw", ['{"a": 1}'.encode("utf-16"), '{"a": 1}'.encode("utf-32"), b'{"a": "\xfe"}'])
def test_json_of_another_charset_is_malformed(raw: bytes) -> None:
    assert reason_of(decode_json, raw, "utf-8") is Reason.BAD_ENCODING or raw.startswith(b"\xff\xfe")


def test_levels_of_trust_are_ordered() -> None:
    assert sorted(Level, key=lambda level: level.rank) == [Level.CLAIMED, Level.ROUTE, Level.SIGNED, Level.CONFIRMED]
