"""Holds the Python adapter to the SDK's own suite, and to a few things that the suite does not ask.

Run by client/tests/session_store.rs: URL as the argument, the token on stdin.
"""

import asyncio
import itertools
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "adapters" / "python"))

from claude_agent_sdk import fork_session_via_store, get_session_messages_from_store
from claude_agent_sdk.testing import run_session_store_conformance
from rrd_session_store import RrdError, RrdSessionStore

URL, TOKEN = sys.argv[1], sys.stdin.read().strip()
SESSION = "5b3c1d7e-0000-4000-8000-00000000c0de"


def message(kind: str, number: int, text: str) -> dict:
    """A record as the CLI writes it."""
    uuid = f"00000000-0000-4000-8000-{number:012}"
    parent = f"00000000-0000-4000-8000-{number - 1:012}" if number > 1 else None
    said = {"role": kind, "content": text if kind == "user" else [{"type": "text", "text": text}]}
    if kind == "assistant":
        said |= {"id": f"msg_{number}", "type": "message", "model": "m", "stop_reason": "end_turn"}
        said |= {"stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
    return {
        "parentUuid": parent, "isSidechain": False, "type": kind, "uuid": uuid, "cwd": "/w",
        "timestamp": f"2026-11-20T10:00:{number:02}.000Z", "sessionId": SESSION, "message": said,
        "version": "2.1.330", "userType": "external", "entrypoint": "sdk-py", "gitBranch": "main",
    }


async def beyond() -> None:
    store = RrdSessionStore(URL, token=TOKEN)
    key = {"project_key": "-w", "session_id": SESSION}
    said = [message("user", 1, "Wie geht's? 日本語 \u2028 \ud83d"), message("assistant", 2, "Gut.")]
    await store.append(key, said)
    # Said again, as whoever heard no answer does.
    await store.append(key, said)
    await store.append(key, [*said, {"type": "mode", "mode": "x"}, {"type": "mode", "mode": "x"}])
    mode = {"type": "mode", "mode": "x"}
    assert await store.load(key) == [*said, mode, mode]
    # More than one call brings, and at once from several tasks, each in its own order.
    big = {"project_key": "-w", "session_id": "big"}
    text = "x" * 1_000_000
    many = [{"type": "user", "uuid": f"{task}-{n}", "text": text} for task in range(3) for n in range(9)]
    await asyncio.gather(*(store.append(big, many[task * 9 : task * 9 + 9]) for task in range(3)))
    loaded = await store.load(big)
    assert sorted(entry["uuid"] for entry in loaded) == sorted(entry["uuid"] for entry in many)
    for task in range(3):
        own = [entry["uuid"] for entry in loaded if entry["uuid"].startswith(f"{task}-")]
        assert own == [f"{task}-{n}" for n in range(9)], own
    # What a crash left of a call that was not answered is no reason to lose the rest; the caller put it there.
    left = await store.load({"project_key": "-w", "session_id": "torn"})
    assert left == [{"type": "x", "n": 1}, {"type": "x", "n": 2}], left
    # What the SDK makes of it.
    messages = await get_session_messages_from_store(store, SESSION, directory="/w")
    assert [m.type for m in messages] == ["user", "assistant"], messages
    fork = await fork_session_via_store(store, SESSION, directory="/w")
    copied = await store.load({"project_key": "-w", "session_id": fork.session_id})
    assert [e["message"] for e in copied if "message" in e] == [e["message"] for e in said]
    # What is wrong is told.
    for wrong in [
        RrdSessionStore(URL, token="rrd_token_wrong").load(key),
        RrdSessionStore(URL + "/elsewhere", token=TOKEN).load(key),
        RrdSessionStore("http://127.0.0.1:1", token=TOKEN).load(key),
        store.append({**key, "subpath": "../../x"}, said),
        store.append(key, ["no object"]),
        store.append(key, [{"type": "user", "text": "x" * (32 << 20)}]),
    ]:
        try:
            await wrong
        except RrdError as error:
            print(error, file=sys.stderr)
        else:
            raise AssertionError("nothing is wrong")
    # What a file of a token ends in is no part of it; what no token has is not told.
    assert await RrdSessionStore(URL, token=TOKEN + "\n").load(key)
    try:
        RrdSessionStore(URL, token="secret\nword")
    except RrdError as error:
        assert "secret" not in str(error)
    else:
        raise AssertionError("nothing is wrong")
    print(json.dumps({"session": SESSION, "fork": fork.session_id}))


numbers = itertools.count()
asyncio.run(
    run_session_store_conformance(
        lambda: RrdSessionStore(URL, token=TOKEN, prefix=f"suite-{next(numbers)}-")
    )
)
# One for each contract of what the adapter has, and one to look at.
assert next(numbers) >= 14
asyncio.run(beyond())
