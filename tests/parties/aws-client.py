"""Calls AWS APIs with boto3, order by order: a line of JSON each, on standard input.

usage: aws-client.py ENDPOINT REGION ACCESS_KEY_ID SECRET_ACCESS_KEY CA_FILE [ADDRESS]

An order is {"service", "operation", "parameters"}, with "unsigned": true for a client without keys, and "page_size" for
all pages of a list, which boto3's paginator reads. The answer is
{"ok": …} or {"error": code, "message", "class": the exception's name, "status", "retry_after"}."""
import base64
import json
import sys

import boto3
import botocore
import botocore.config
import botocore.exceptions

endpoint, region, key, secret, ca = sys.argv[1:6]


def with_bytes(value):
    """A value of the form {"base64": …} is bytes, which JSON does not have."""
    return base64.b64decode(value["base64"]) if list(value) == ["base64"] else value


def client(service, unsigned):
    config = {"retries": {"max_attempts": 0}, "parameter_validation": False}
    if unsigned:
        config["signature_version"] = botocore.UNSIGNED
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        verify=ca,
        config=botocore.config.Config(**config),
    )


clients = {}
for line in sys.stdin:
    order = json.loads(line, object_hook=with_bytes)
    of = (order.get("service", "cognito-idp"), order.get("unsigned", False))
    if of not in clients:
        clients[of] = client(*of)
    try:
        name = botocore.xform_name(order["operation"])
        if "page_size" in order:
            paginator = clients[of].get_paginator(name)
            pages = paginator.paginate(**order["parameters"], PaginationConfig={"PageSize": order["page_size"]})
            result = {"ok": list(pages)}
        else:
            answer = getattr(clients[of], name)(**order["parameters"])
            headers = answer.pop("ResponseMetadata")["HTTPHeaders"]
            result = {"ok": answer, "request_id": headers.get("x-amzn-requestid")}
    except botocore.exceptions.ClientError as error:
        headers = error.response["ResponseMetadata"]["HTTPHeaders"]
        result = {
            "error": error.response["Error"]["Code"],
            "message": error.response["Error"]["Message"],
            "class": type(error).__name__,
            "status": error.response["ResponseMetadata"]["HTTPStatusCode"],
            "retry_after": headers.get("retry-after"),
        }
    except botocore.exceptions.BotoCoreError as error:
        result = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(result, default=lambda value: value.timestamp()), flush=True)
