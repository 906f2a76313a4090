"""Addresses of stores in Redis: the syntax of `--store redis://…`, without a connection.

    redis[s]://[user[:password]@]host[:port][/db][?parameters]
    redis[s]+sentinel://[user[:password]@]host[:port][,host[:port]…]/service[/db][?parameters]
    redis[s]+cluster://[user[:password]@]host[:port][,host[:port]…][?parameters]

With the `s` all connections use TLS. User and password are those of Redis itself; a Sentinel's own
are the parameters `sentinel_username` and `sentinel_password`.

Invariants:
- No message and no `repr` of this module shows a password, nor any part of an address that may be
  one because the address is mistyped.
- What an address says is used or refused: no parameter is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

Kind = Literal["single", "sentinel", "cluster"]
"""What is behind an address: one Redis, Sentinels that know its master, or a Redis Cluster."""

SCHEMES: Mapping[str, tuple[Kind, bool]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
"""What is behind the addresses of each scheme, and whether their connections use TLS."""

REDIS_PORT = 6379
"""The TCP port of a Redis whose address names none."""

SENTINEL_PORT = 26379
"""The TCP port of a Sentinel whose address names none."""

_TLS_PARAMETERS = (
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_cert_reqs",
    "ssl_check_hostname",
)
_PARAMETERS: Mapping[Kind, tuple[str, ...]] = {
    "single": ("db", "username", "password"),
    "sentinel": (
        "db",
        "username",
        "password",
        "sentinel_username",
        "sentinel_password",
    ),
    "cluster": ("username", "password"),
}
_LOCAL = (("localhost", REDIS_PORT),)
_CERTIFICATE_IS = ("required", "optional", "none")
_YES_OR_NO = {"true": True, "yes": True, "1": True} | {
    "false": False,
    "no": False,
    "0": False,
}
_HOST = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<name>[^\s:\[\]@,\x00-\x1f]+))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """An address of Redis, parsed. Its `repr` has no password."""

    kind: Kind
    tls: bool
    """Whether all connections use TLS."""
    hosts: tuple[tuple[str, int], ...]
    """Host and port of the Redis, of each Sentinel, or of some nodes of the Cluster."""
    service: str = ""
    """The name by which the Sentinels know the master; "" for other kinds."""
    database: int = 0
    """The number of the database; 0 in a Cluster."""
    username: str | None = None
    """The user of Redis; None for the user `default`."""
    password: str | None = field(default=None, repr=False)
    """That user's password; None when Redis asks for none."""
    sentinel_username: str | None = None
    """The user of the Sentinels; None for their user `default`."""
    sentinel_password: str | None = field(default=None, repr=False)
    """That user's password; None when the Sentinels ask for none."""
    tls_options: Mapping[str, str | bool] = field(default_factory=dict)
    """The options of redis-py for TLS, by their names there: `ssl_ca_certs`, for example."""

    def mask(self, text: str) -> str:
        """Return `text` with each password in it replaced by `***`.

        An error of a server may quote what it was sent.
        """
        for password in (self.password, self.sentinel_password):
            if password:
                text = text.replace(password, "***")
        return text


def parse_address(text: str) -> RedisAddress:
    """Return the address that `text` writes; the syntax is at the head of this module.

    A character with a meaning in addresses (`@`, `/`, `?`, `#`, `%`, `:` in a user) is written as
    `%` and its two hexadecimal digits, in user, password, service and parameters.

    Raises `ValueError` when it is no such address: "takes …", a clause that shows no password.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ValueError(f"takes an address that begins with {_any_of(SCHEMES, '://')}")
    kind, tls = SCHEMES[scheme]
    authority, path, query = _split(rest)
    credentials, at, places = authority.rpartition("@")
    user, _, password = credentials.partition(":")
    parameters = _parameters(scheme, query)
    if at and not parameters.keys().isdisjoint(("username", "password")):
        raise ValueError(
            "takes an address with a user and password before the host or as parameters, not both"
        )
    service, database = _path(kind, path)
    if "db" in parameters:
        if database:
            raise ValueError("takes an address that names its database once")
        database = parameters.pop("db")
    return RedisAddress(
        kind,
        tls,
        _LOCAL if kind == "single" and not authority else _hosts(kind, places),
        service,
        _database(database),
        username=unquote(user) or parameters.pop("username", None),
        password=unquote(password) or parameters.pop("password", None),
        sentinel_username=parameters.pop("sentinel_username", None),
        sentinel_password=parameters.pop("sentinel_password", None),
        tls_options=_tls_options(parameters),
    )


def _any_of(words: Mapping[str, object], suffix: str = "") -> str:
    *most, last = (f"{word}{suffix}" for word in words)
    return f"{', '.join(most)} or {last}"


def _split(rest: str) -> tuple[str, str, str]:
    """Return the authority, the path and the query of what follows `://`."""
    end = re.search(r"[/?#]", rest)
    authority, rest = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    if "@" in rest or "#" in rest:
        # Most likely the "authority" is the first half of a password, so it isn't quoted.
        raise ValueError(
            "takes an address in whose password and parameters"
            " @ / ? # are written as %40 %2F %3F %23"
        )
    path, _, query = rest.partition("?")
    return authority, path, query


def _hosts(kind: Kind, places: str) -> tuple[tuple[str, int], ...]:
    usual_port = SENTINEL_PORT if kind == "sentinel" else REDIS_PORT
    hosts = []
    for place in places.split(","):
        found = _HOST.fullmatch(place)
        port = int(found["port"] or usual_port) if found else 0
        if found is None or not 0 < port < 65536:
            raise ValueError(
                "takes an address with host:port (an IPv6 address in []) behind"
                " :// or the password's @, and a port from 1 to 65535"
            )
        hosts.append((found["v6"] or found["name"], port))
    if kind == "single" and len(hosts) > 1:
        raise ValueError(
            "takes several hosts for Sentinel or Cluster alone:"
            " redis+sentinel:// or redis+cluster://"
        )
    return tuple(hosts)


def _path(kind: Kind, path: str) -> tuple[str, str]:
    """Return the service and the text of the database, "" for what the path doesn't name."""
    first, _, more = path.strip("/").partition("/")
    if kind != "sentinel":
        if more or (kind == "cluster" and first not in ("", "0")):
            raise ValueError(
                "takes an address that ends with its database: /0 in a Cluster"
            )
        return "", first
    if not first:
        raise ValueError("takes a Sentinel's address with its service: …/mymaster")
    return unquote(first), more


def _database(text: str) -> int:
    if not re.fullmatch(r"[0-9]{0,5}", text, re.ASCII):
        raise ValueError("takes an address whose database is a number, 0 or more")
    return int(text or 0)


def _parameters(scheme: str, query: str) -> dict[str, str]:
    """Return the parameters by name. Raises `ValueError` for one that is not known."""
    kind, tls = SCHEMES[scheme]
    known = _PARAMETERS[kind] + (_TLS_PARAMETERS if tls else ())
    parameters: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        if name not in known:
            # A name that has no value, or the shape of none, may be a piece of a password.
            shown = value and re.fullmatch(r"[a-z_]{1,32}", name)
            unknown = f"{name} is not" if shown else "another is not"
            hint = ""
            if shown and name.startswith("ssl"):
                hint = f"; for TLS write {scheme.replace('redis', 'rediss', 1)}://"
                hint = "" if tls else hint
            raise ValueError(
                f"takes a {scheme}:// address with the parameters"
                f" {', '.join(known)}: {unknown} known{hint}"
            )
        if not value or name in parameters:
            raise ValueError(
                f"takes an address whose parameter {name} has a value, once"
            )
        parameters[name] = unquote(value)
    return parameters


def _tls_options(parameters: Mapping[str, str]) -> dict[str, str | bool]:
    options: dict[str, str | bool] = dict(parameters)
    if (certificate := parameters.get("ssl_cert_reqs")) is not None:
        if certificate not in _CERTIFICATE_IS:
            raise ValueError(
                f"takes one of {', '.join(_CERTIFICATE_IS)} for ssl_cert_reqs"
            )
        if certificate == "none":  # ssl refuses to check a name in what isn't verified
            options["ssl_check_hostname"] = False
    if (check := parameters.get("ssl_check_hostname")) is not None:
        if check.lower() not in _YES_OR_NO:
            raise ValueError("takes yes or no for ssl_check_hostname")
        options["ssl_check_hostname"] = _YES_OR_NO[check.lower()]
        if certificate == "none" and options["ssl_check_hostname"]:
            raise ValueError("takes no ssl_check_hostname=yes with ssl_cert_reqs=none")
    if "ssl_keyfile" in parameters and "ssl_certfile" not in parameters:
        raise ValueError("takes ssl_keyfile only with ssl_certfile")
    return options
