"""One call by an SDK of the usual kind, as squall's tests have it: what it came to is one line of JSON.

The stand-ins answer under the real names of the services; nothing here knows of squall but for what its variables say."""

import json
import os
import sys
import threading
import time

EVENTS = 6


def openai_client(**settings):
    import openai

    return openai.OpenAI(api_key="test", **settings)


def openai_stream(read_timeout=10):
    """The text of a stream, chunk by chunk."""
    client = openai_client(max_retries=0, timeout=read_timeout)
    messages = [{"role": "user", "content": "hello"}]
    with client.chat.completions.create(model="gpt-4o", messages=messages, stream=True) as stream:
        chunks = [chunk.choices[0].delta.content for chunk in stream]
    return {"chunks": len([chunk for chunk in chunks if chunk])}


def openai_waits():
    """Whether a stream with a read time-out of a second is still waited for after four."""
    ended = []
    thread = threading.Thread(target=lambda: ended.append(outcome(lambda: openai_stream(1))), daemon=True)
    thread.start()
    thread.join(4)
    return {"waits": thread.is_alive(), "ended": ended}


def openai_call():
    openai_client(timeout=10).models.list()
    return {}


def anthropic_stream():
    import anthropic

    client = anthropic.Anthropic(api_key="test", max_retries=0, timeout=10)
    messages = [{"role": "user", "content": "hello"}]
    with client.messages.stream(model="claude-3-5-haiku-latest", max_tokens=64, messages=messages) as stream:
        message = stream.get_final_message()
    return {"text": message.content[0].text, "stop_reason": message.stop_reason}


def dynamodb():
    import boto3

    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
    boto3.client("dynamodb", region_name="us-east-1").list_tables()
    return {}


def stripe():
    import stripe as client

    client.api_key = "sk_test_x"
    client.api_base = os.environ.get("STRIPE_API_BASE", client.api_base)
    client.max_network_retries = 2
    client.Charge.list(limit=1)
    return {}


def outcome(call):
    began = time.monotonic()
    try:
        result = call()
    except Exception as error:
        result = {"error": type(error).__name__, "status": getattr(error, "status_code", None)}
    return result | {"seconds": time.monotonic() - began}


if __name__ == "__main__":
    result = outcome(globals()[sys.argv[1]])
    print(json.dumps(result), flush=True)
    os._exit(1 if "error" in result else 0)  # whoever still waits is not waited for
