"""Calls operations of cognito-idp with boto3, as aws-client.py does, and compares each answer with botocore's model.

usage: aws-shapes.py ENDPOINT REGION ACCESS_KEY_ID SECRET_ACCESS_KEY CA_FILE

An order is {"operation", "parameters"}, with "unsigned": true for a client without keys. The answer is
{"ok": …, "problems": […]} or {"error": code, "message", "class": the exception's name}. A problem is a member that the
model does not have, a required one that is missing, a value of another type or outside of an enumeration, or a member
that botocore did not parse."""
import base64
import json
import sys

import boto3
import botocore
import botocore.config
import botocore.exceptions

endpoint, region, key, secret, ca = sys.argv[1:6]
TYPES = {
    "structure": dict, "list": list, "map": dict, "string": str, "boolean": bool, "integer": int, "long": int,
    "timestamp": (int, float), "blob": str,
}
last = {}


def with_bytes(value):
    """A value of the form {"base64": …} is bytes, which JSON does not have."""
    return base64.b64decode(value["base64"]) if list(value) == ["base64"] else value


def client(unsigned):
    config = {"retries": {"max_attempts": 0}, "parameter_validation": False}
    if unsigned:
        config["signature_version"] = botocore.UNSIGNED
    made = boto3.client(
        "cognito-idp",
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        verify=ca,
        config=botocore.config.Config(**config),
    )
    made.meta.events.register("before-parse.cognito-idp", lambda response_dict, **_: last.update(response_dict))
    return made


def problems(shape, raw, parsed, path):
    """Compares a value of the body, and what botocore parsed, with a shape."""
    if not isinstance(raw, TYPES[shape.type_name]) or (isinstance(raw, bool) and shape.type_name != "boolean"):
        yield f"{path} is {raw!r}, not a {shape.type_name}"
    elif shape.type_name == "structure":
        for name in set(raw) - set(shape.members):
            yield f"{path}.{name} is not in the model"
        for name in set(shape.required_members) - set(raw):
            yield f"{path}.{name} is required and missing"
        for name in set(raw) & set(shape.members):
            if name in parsed:
                yield from problems(shape.members[name], raw[name], parsed[name], f"{path}.{name}")
            else:
                yield f"{path}.{name} was not parsed"
    elif shape.type_name == "list":
        for number, (value, other) in enumerate(zip(raw, parsed, strict=True)):
            yield from problems(shape.member, value, other, f"{path}[{number}]")
    elif shape.type_name == "map":
        for name, value in raw.items():
            yield from problems(shape.value, value, parsed[name], f"{path}.{name}")
    elif shape.type_name == "string":
        if shape.enum and raw not in shape.enum:
            yield f"{path} is {raw!r}, not of {shape.enum}"
        if raw != parsed:
            yield f"{path} was parsed as {parsed!r}"


clients = {}
for line in sys.stdin:
    order = json.loads(line, object_hook=with_bytes)
    unsigned = order.get("unsigned", False)
    if unsigned not in clients:
        clients[unsigned] = client(unsigned)
    called = clients[unsigned]
    try:
        answer = getattr(called, botocore.xform_name(order["operation"]))(**order["parameters"])
        answer.pop("ResponseMetadata")
        output = called.meta.service_model.operation_model(order["operation"]).output_shape
        body = json.loads(last["body"])
        if output is None:
            found = [f"the answer of an operation without output is {body}"] if body else []
        else:
            found = sorted(problems(output, body, answer, order["operation"]))
        result = {"ok": answer, "problems": found}
    except botocore.exceptions.ClientError as error:
        result = {
            "error": error.response["Error"]["Code"],
            "message": error.response["Error"]["Message"],
            "class": type(error).__name__,
        }
    except botocore.exceptions.BotoCoreError as error:
        result = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(result, default=lambda value: value.timestamp()), flush=True)
