"""Clients of the usual kind, driven from a test: a line of JSON in, a line of JSON out."""

import json
import sys
import threading
import time


def told(error):
    """The classes of an error, the nearest first, and its status if it has one."""
    names = [kind.__name__ for kind in type(error).__mro__ if kind not in (object, BaseException, Exception)]
    return {"error": names, "status": getattr(error, "status_code", None) or getattr(error, "http_status", None)}


def openai(say):
    from openai import OpenAI

    client = OpenAI(base_url=say["base"] + "/v1", api_key="sk-test", timeout=say.get("timeout"), max_retries=say.get("retries", 2))
    ask = {"model": "gpt-4o", "messages": [{"role": "user", "content": "?"}]}
    if say["do"] == "call":
        return {"text": client.chat.completions.create(**ask).choices[0].message.content}
    if say.get("tool"):
        ask["tools"] = [{"type": "function", "function": {"name": "pay", "parameters": {"type": "object"}}}]
    seen = {"text": "", "arguments": "", "finish": None, "events": 0}
    try:
        for event in client.chat.completions.create(stream=True, **ask):
            choice = event.choices[0]
            seen["events"] += 1
            seen["text"] += choice.delta.content or ""
            seen["arguments"] += "".join(call.function.arguments or "" for call in choice.delta.tool_calls or [])
            seen["finish"] = choice.finish_reason or seen["finish"]
    except Exception as error:
        seen.update(told(error))
    return seen


def openai_patience(say):
    from openai import OpenAI

    return {"seconds": OpenAI(api_key="sk-test").timeout.read}


def anthropic(say):
    from anthropic import Anthropic

    client = Anthropic(base_url=say["base"], api_key="sk-ant-test", timeout=say.get("timeout"), max_retries=say.get("retries", 2))
    ask = {"model": "claude", "max_tokens": 99, "messages": [{"role": "user", "content": "?"}]}
    if say["do"] == "call":
        return {"text": client.messages.create(**ask).content[0].text}
    if say.get("tool"):
        ask["tools"] = [{"name": "pay", "input_schema": {"type": "object"}}]
    seen = {"text": "", "finish": None}
    try:
        with client.messages.stream(**ask) as stream:
            for text in stream.text_stream:
                seen["text"] += text
            message = stream.get_final_message()
            seen["finish"] = message.stop_reason
            seen["input"] = next((block.input for block in message.content if block.type == "tool_use"), None)
    except Exception as error:
        seen.update(told(error))
    return seen


def stripe(say):
    import stripe

    client = stripe.StripeClient("sk_test_1", base_addresses={"api": say["base"]}, max_network_retries=say.get("retries", 2))
    return {"id": client.v1.charges.create({"amount": 100, "currency": "eur"}).id}


def aws(say):
    import boto3
    from botocore.config import Config

    config = Config(s3={"addressing_style": "path"}, retries=say.get("retries_config"), read_timeout=5)
    keys = {"aws_access_key_id": "A", "aws_secret_access_key": "S", "region_name": "us-east-1"}
    client = boto3.client(say["service"], endpoint_url=say["base"], config=config, **keys)
    answer = getattr(client, say["call"])(**say["with"])
    if "Body" in answer:
        return {"bytes": len(answer["Body"].read())}
    return {"attempts": answer["ResponseMetadata"]["RetryAttempts"]}


def requests(say):
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry

    session = requests.Session()
    retries = say.get("retries", 0)
    retry = Retry(total=retries, status_forcelist=[429, 502, 503] if retries else [], allowed_methods=None, backoff_factor=0.05)
    session.mount("http://", HTTPAdapter(max_retries=retry))
    answer = session.request(say.get("method", "GET"), say["base"] + say["path"], timeout=5)
    return {"status": answer.status_code, "text": answer.text}


def httpx(say):
    import httpx

    answer = httpx.request(say.get("method", "GET"), say["base"] + say["path"], timeout=say.get("timeout", 5))
    return {"status": answer.status_code, "text": answer.text}


def done(say):
    began = time.monotonic()
    try:
        result = globals()[say["client"]](say)
    except Exception as error:
        result = told(error) | {"message": str(error)}
    return result | {"took": time.monotonic() - began}


def within(say):
    """What came of it, or that it still waits when the test has waited long enough."""
    if "deadline" not in say:
        return done(say)
    result = []
    thread = threading.Thread(target=lambda: result.append(done(say)), daemon=True)
    thread.start()
    thread.join(say["deadline"])
    return result[0] if result else {"waits": True}


for line in sys.stdin:
    print(json.dumps(within(json.loads(line))), flush=True)
