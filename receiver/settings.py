"""The forms of the configuration file, as marshmallow schemas; docs/configuration.md says what each setting means."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from receiver.account import Reference
from receiver.event import Kind, Verdict
from receiver.message import Level
from receiver.ports import Provider
from receiver.routing import NO_VERDICT
from receiver.schema import SecretRef, SettingsSchema

SLUG = validate.Regexp(r"^[a-z0-9_-]{1,32}\Z", error="must be 1 to 32 of a-z, 0-9, `_` and `-`")
_UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 24 * 3600}
_LAST = 7 * 24 * 3600
_DURATION = re.compile(r"([0-9]{1,6}) ?(s|min|m|h|d)", re.ASCII)
_SIZES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(r"([0-9]{1,6}) ?(KiB|MiB|GiB)", re.ASCII)
_KINDS = {"*"} | {kind.value for kind in Kind} | {kind.value.partition(".")[0] + ".*" for kind in Kind}
_VERDICTS = [*(verdict.value for verdict in Verdict), NO_VERDICT]
_COVERS = {"status", "amount", "order_ref", "payment_ref", "customer.ref"}


class Duration(fields.Field[Any]):
    """A span such as ``24 h``, ``90 min`` or ``30 d``, in seconds."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        del attr, data, kwargs
        found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
        if found is None:
            raise ValidationError("must be a span such as `24 h`, `90 min` or `30 d`")
        return int(found[1]) * _UNITS[found[2]]


class Size(fields.Field[Any]):
    """A size such as ``64 MiB`` or ``1 GiB``, in bytes."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        del attr, data, kwargs
        found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
        if found is None:
            raise ValidationError("must be a size such as `64 MiB` or `1 GiB`")
        return int(found[1]) * _SIZES[found[2]]


class SecretRefs(fields.Field[Any]):
    """One reference, or a list of them, newest first."""

    _one = SecretRef()

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> tuple[Reference, ...]:
        listed = value if isinstance(value, list) else [value]
        if not listed:
            raise ValidationError("must name at least one reference")
        found = (self._one.deserialize(item, attr, data, **kwargs) for item in listed)
        return tuple(reference for reference in found if isinstance(reference, Reference))


def _result_url(value: str) -> None:
    if not value.isascii() or "#" in value or any(sign.isspace() for sign in value):
        raise ValidationError("must be plain ASCII without a fragment: the signed result is put at its end")


# Settings that several providers share; each names those that it takes and needs.
_SHARED: Mapping[str, fields.Field[Any]] = {
    "secrets": fields.List(SecretRef(), validate=validate.Length(min=1)),
    "token": SecretRefs(),
    "browser_token": SecretRefs(),
    "result_url": fields.Url(schemes={"http", "https"}, require_tld=False, validate=_result_url),
    "result_secret": SecretRef(),
    "relay": fields.Boolean(truthy={True}, falsy={False}),
}


class AccountSchema(SettingsSchema):
    provider = fields.String(required=True)
    slug = fields.String(required=True, validate=SLUG)
    test = fields.Boolean(truthy={True}, falsy={False}, load_default=False)
    confirm = fields.String(load_default=None, validate=validate.OneOf(["never", "unproven", "always"]))
    confirm_for = Duration(load_default=24 * 3600)
    unconfirmed = fields.String(load_default="hold", validate=validate.OneOf(["hold", "release"]))
    expected_token = SecretRefs(load_default=())
    personal = fields.String(load_default="masked", validate=validate.OneOf(["masked", "clear"]))
    custom = fields.List(fields.String(), load_default=list)


def account_schema(provider: Provider) -> Schema:
    """Return the schema of one provider's accounts: what all have, what it shares with others, what is its own."""
    wanted = provider.settings
    shared: dict[str, Any] = {}
    for name in sorted(wanted.takes):
        found = _SHARED[name]
        shared[name] = _required(found) if name in wanted.needs else found
    own = {name: found for name, found in wanted.account.declared_fields.items() if name not in shared}
    fields_of = {**shared, **own, "api": fields.Nested(wanted.api, load_default=dict)}
    made: Schema = type("AccountOf" + provider.name, (AccountSchema,), fields_of)()
    return made


def _required(found: fields.Field[Any]) -> fields.Field[Any]:
    if isinstance(found, fields.List):
        return fields.List(SecretRef(), required=True, validate=validate.Length(min=1))
    return type(found)(required=True)


class RouteSchema(SettingsSchema):
    name = fields.String(required=True, validate=SLUG)
    queue = fields.String(load_default=None, validate=SLUG)
    job = fields.String(
        required=True,
        validate=validate.Regexp(
            r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+\Z",
            error="must be the dotted name of a callable, such as shop.tasks.on_payment",
        ),
    )
    kinds = fields.List(
        fields.String(validate=validate.OneOf(sorted(_KINDS), error="is no kind; see docs/events.md")),
        load_default=lambda: ["*"],
    )
    providers = fields.List(fields.String(), load_default=lambda: ["*"])
    accounts = fields.List(fields.String(), load_default=lambda: ["*"])
    test = fields.String(load_default="both", validate=validate.OneOf(["live", "test", "both"]))
    min_trust = fields.String(load_default="route", validate=validate.OneOf([level.value for level in Level]))
    covers = fields.List(fields.String(validate=validate.OneOf(sorted(_COVERS))), load_default=list)
    verdicts = fields.List(fields.String(validate=validate.OneOf(_VERDICTS)), load_default=list)
    mode = fields.String(
        load_default="each",
        validate=validate.OneOf(["each"], error="only `each` is built in this version; `stream` and `batch` follow"),
    )


def _rising(spans: list[int]) -> None:
    if not spans or spans[0] < 1 or any(later <= earlier for earlier, later in pairwise(spans)):
        raise ValidationError("must be at least one span, each longer than the one before, and none of nothing")
    if spans[-1] > _LAST:
        raise ValidationError("must not go on for longer than 7 d")


class KeeperSchema(SettingsSchema):
    """The defaults stand in ``receiver.config.Keeping``."""

    every = Duration(validate=validate.Range(min=1))
    grace = Duration(validate=validate.Range(min=1))
    lease = Duration(validate=validate.Range(min=3, error="must be at least 3 s: it is renewed once a second"))


class TopSchema(SettingsSchema):
    dedupe_days = fields.Integer(strict=True, load_default=30, validate=validate.Range(min=0, max=36500))
    events_keep = Duration(load_default=24 * 3600)
    wait_replicas = fields.Integer(strict=True, load_default=0, validate=validate.Range(min=0, max=16))
    data_key = SecretRefs()
    metrics_token = SecretRef()
    keeper = fields.Nested(KeeperSchema, load_default=dict)
    spool_max = Size(load_default=1 << 30, validate=validate.Range(min=1 << 20, error="must be at least 1 MiB"))
    reconcile_after = fields.List(
        Duration(), load_default=lambda: [120, 600, 3600, 6 * 3600, 24 * 3600], validate=_rising
    )
