"""Keeps the sessions of a program made with the Claude Agent SDK in rrd's session store.

    from claude_agent_sdk import ClaudeAgentOptions, query
    from rrd_session_store import RrdSessionStore

    store = RrdSessionStore(token=os.environ["RRD_STORE_TOKEN"])
    async for message in query(prompt="...", options=ClaudeAgentOptions(session_store=store)):
        ...

A daemon on this host (``rrd service install``, or ``rrd daemon``) answers at http://127.0.0.1:7730, and
``rrd token --session-store`` prints a token. Entries are on the daemon's disk when ``append`` returns; the
sessions are then in ``rrd sessions list``, in replay and search, and, where ``rrd mirror`` is on, in the bucket.

Needs nothing but Python 3.10 and, for its types, claude-agent-sdk. Every call has a connection of its own, so one
store may be used from any number of tasks and event loops.
"""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from claude_agent_sdk import (
        SessionKey,
        SessionListSubkeysKey,
        SessionStoreEntry,
        SessionStoreListEntry,
    )

__all__ = ["RrdError", "RrdSessionStore"]

_LOG = logging.getLogger("rrd_session_store")

# A call brings at most 32 MiB; several smaller ones hold up nobody else.
_MOST = 32 << 20
_BATCH = 4 << 20


class RrdError(Exception):
    """The daemon did not do what it was asked; says why, and what helps."""


class RrdSessionStore:
    """A ``SessionStore`` in which rrd keeps what it is given.

    ``prefix`` goes before every project key, so that several programs that work in the same directory keep apart.
    Without one, the keys are Claude Code's own and its sessions out of the mirror's bucket can be resumed, too.
    ``timeout``, in seconds, is that of one call; the SDK itself waits for 60.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:7730",
        *,
        token: str,
        prefix: str = "",
        timeout: float = 60.0,
    ) -> None:
        self._url = url.rstrip("/")
        # A file's last newline is no part of it; what else is not plain would be told with the error of a header.
        self._token = token.strip()
        if not self._token.isascii() or not self._token.isprintable():
            raise RrdError("the token is none: rrd token --session-store prints one")
        self._prefix = prefix
        self._timeout = timeout
        # No proxy of the environment's stands between this program and the daemon, and no token is carried on.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), _NoRedirect()
        )

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Adds entries. Those with a ``uuid`` that is there already are not added again."""
        query = self._query(key)
        batch, size = [], 0
        for entry in entries:
            line = json.dumps(entry, separators=(",", ":"), allow_nan=False).encode() + b"\n"
            if len(line) > _MOST:
                raise RrdError(f"an entry of {len(line)} bytes is too long: {_MOST} at most are taken")
            if batch and size + len(line) > _BATCH:
                await self._ask("POST", "entries", query, b"".join(batch))
                batch, size = [], 0
            batch.append(line)
            size += len(line)
        if batch:
            await self._ask("POST", "entries", query, b"".join(batch))

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """All entries in order; ``None`` where there are none."""
        body = await self._ask("GET", "entries", self._query(key))
        if body is None:
            return None
        entries = []
        for line in body.split(b"\n"):
            try:
                entries += [json.loads(line)] if line else []
            except ValueError:
                # What the power's going left of a call that was not answered.
                _LOG.warning("%s: a line that is no JSON is left out", key["session_id"])
        return entries

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        """The project's sessions on the daemon's host, in no order."""
        body = await self._ask("GET", "sessions", {"project": self._prefix + project_key})
        return json.loads(body or b"[]")

    async def delete(self, key: SessionKey) -> None:
        """Deletes a transcript; without ``subpath`` all of the session."""
        await self._ask("DELETE", "entries", self._query(key))

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """The subpaths of the session's other transcripts."""
        body = await self._ask("GET", "subkeys", self._query(key))
        return json.loads(body or b"[]")

    def _query(self, key: Any) -> dict[str, str]:
        query = {"project": self._prefix + key["project_key"], "session": key["session_id"]}
        if key.get("subpath") is not None:
            query["subpath"] = key["subpath"]
        return query

    async def _ask(
        self, method: str, what: str, query: dict[str, str], body: bytes | None = None
    ) -> bytes | None:
        return await asyncio.to_thread(self._ask_at_once, method, what, query, body)

    def _ask_at_once(
        self, method: str, what: str, query: dict[str, str], body: bytes | None
    ) -> bytes | None:
        url = f"{self._url}/session-store/{what}?{urllib.parse.urlencode(query)}"
        headers = {"Authorization": f"Bearer {self._token}"}
        if body is not None:
            headers["Content-Type"] = "application/x-ndjson"
        request = urllib.request.Request(url, body, headers, method=method)
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                note = answer.headers.get("x-rrd-note")
                if note:
                    _LOG.warning("%s: %s", query.get("session"), note)
                return None if answer.status == 204 else answer.read()
        except urllib.error.HTTPError as error:
            raise RrdError(_why(error)) from None
        except urllib.error.URLError as error:
            raise RrdError(f"no rrd answers at {self._url}: {error.reason}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _why(error: urllib.error.HTTPError) -> str:
    try:
        problem = json.loads(error.read(65_536))
        words = [problem["detail"], problem.get("hint")]
    except (ValueError, KeyError, TypeError, OSError):
        words = [error.reason]
    return f"rrd says {error.code}: " + "; ".join(str(word) for word in words if word)
