"""A program made with the SDK, with a model that only plays one: runs, resumes and forks a session whose only copy is
in rrd's store. Run by client/tests/session_store.rs: URL and the client to be run as arguments, the token on stdin; says
what came of it in one line of JSON.
"""

import asyncio
import json
import os
import pathlib
import re
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "adapters" / "python"))

from claude_agent_sdk import ClaudeAgentOptions, ResultMessage, SystemMessage, query
from claude_agent_sdk import delete_session_via_store, list_sessions_from_store
from rrd_session_store import RrdSessionStore

URL, CLIENT, TOKEN = sys.argv[1], sys.argv[2], sys.stdin.read().strip()
HOME = pathlib.Path(os.environ["HOME"])
WORK = HOME / "work"
WORK.mkdir()

asked: list[str] = []


class Model(BaseHTTPRequestHandler):
    """Answers what it is asked, and keeps it. A delegate is sent off when it is told to."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.path.startswith("/v1/messages") or "count_tokens" in self.path:
            return self.answer("application/json", b'{"input_tokens": 10}')
        asked.append(json.dumps(body["messages"]))
        last = json.dumps(body["messages"][-1]["content"])
        tools = [tool["name"] for tool in body.get("tools", []) if tool["name"] in ("Agent", "Task")]
        if tools and "Send somebody off" in last and "tool_result" not in last:
            said = {"description": "Look", "prompt": "Look at the harbour", "subagent_type": "general-purpose"}
            said["run_in_background"] = False
            block = {"type": "tool_use", "id": f"toolu_{len(asked)}", "name": tools[0], "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(said)}
            reason = "tool_use"
        else:
            block = {"type": "text", "text": ""}
            text = "It is foggy." if "harbour" in last else f"Answer {len(asked)}."
            delta = {"type": "text_delta", "text": text}
            reason = "end_turn"
        message = {
            "id": f"msg_{len(asked)}", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
            "content": [], "stop_reason": None, "stop_sequence": None,
            "usage": {"input_tokens": 10, "output_tokens": 1},
        }
        end = {"stop_reason": reason, "stop_sequence": None}
        events = [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": end, "usage": {"output_tokens": 5}},
            {"type": "message_stop"},
        ]
        stream = "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events)
        self.answer("text/event-stream", stream.encode())

    def answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


async def run(store: RrdSessionStore, model: str, prompt: str, **more: object) -> tuple[str, str]:
    """One run, in a configuration directory of its own that is gone afterwards: what lasts is in the store."""
    config = HOME / f"config-{len(asked)}"
    env = {
        "HOME": str(HOME), "CLAUDE_CONFIG_DIR": str(config), "ANTHROPIC_BASE_URL": model,
        "ANTHROPIC_API_KEY": "sk-ant-none", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    os.environ["CLAUDE_CONFIG_DIR"] = str(config)
    options = ClaudeAgentOptions(
        cwd=WORK, env=env, session_store=store, setting_sources=[], max_turns=5, cli_path=CLIENT, **more
    )
    since = len(asked)
    messages = [message async for message in query(prompt=prompt, options=options)]
    assert not [m for m in messages if isinstance(m, SystemMessage) and m.subtype == "mirror_error"], messages
    (result,) = [m for m in messages if isinstance(m, ResultMessage)]
    assert result.subtype == "success", result
    shutil.rmtree(config, ignore_errors=True)
    return result.session_id, "\n".join(asked[since:])


async def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    model = f"http://127.0.0.1:{server.server_port}"
    store = RrdSessionStore(URL, token=TOKEN)
    first, _ = await run(store, model, "Remember the word heliotrope")
    second, said = await run(store, model, "Send somebody off", resume=first)
    assert second == first and "heliotrope" in said, "a resumed session knows what was said before"
    third, said = await run(store, model, "Which word was it?", resume=first, fork_session=True)
    assert third != first and "heliotrope" in said and "Send somebody off" in said
    fourth, said = await run(store, model, "And again?", continue_conversation=True)
    assert fourth == third and "Which word was it?" in said
    listed = await list_sessions_from_store(store, directory=str(WORK))
    assert sorted(one.session_id for one in listed) == sorted([first, third]), listed
    key = {"project_key": re.sub("[^a-zA-Z0-9]", "-", str(WORK)), "session_id": first}
    stored = await store.load(key)
    prompts = [json.dumps(entry) for entry in stored if entry["type"] == "user"]
    assert any("heliotrope" in text for text in prompts)
    assert not any("Which word" in text for text in prompts), "a fork is nothing of its parent"
    names = [entry["uuid"] for entry in stored if "uuid" in entry]
    assert len(set(names)) == len(names), "no entry is there twice"
    (subkey,) = await store.list_subkeys(key)
    assert "foggy" in json.dumps(await store.load({**key, "subpath": subkey}))
    gone, _ = await run(store, model, "To be forgotten")
    await delete_session_via_store(store, gone, directory=str(WORK))
    assert await store.load({**key, "session_id": gone}) is None
    server.shutdown()
    print(json.dumps({"session": first, "fork": third}))


asyncio.run(main())
