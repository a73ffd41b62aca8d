"""Guesses passwords through the Cognito API, each guess from another address and at another name.
usage: password-flood.py PORT CLIENT_ID CONNECTIONS SECONDS
Prints how many guesses got which answer."""
import collections
import http.client
import json
import ssl
import sys
import threading
import time

port, client, connections, seconds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
end = time.monotonic() + seconds
context = ssl._create_unverified_context()
answers = collections.Counter()
headers = {
    "Host": f"auth.localhost:{port}",
    "Content-Type": "application/x-amz-json-1.1",
    "X-Amz-Target": "AWSCognitoIdentityProviderService.InitiateAuth",
}


def guess(number):
    at = 0
    while time.monotonic() < end:
        at += 1
        source = f"127.{1 + number}.{at // 250 % 250}.{1 + at % 250}"
        parameters = {"USERNAME": f"user-{number}-{at}", "PASSWORD": "Wrong-Horse-7-Battery"}
        request = {"ClientId": client, "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters}
        connection = http.client.HTTPSConnection(
            "127.0.0.1", port, context=context, timeout=30, source_address=(source, 0)
        )
        try:
            connection.request("POST", "/", json.dumps(request), headers)
            response = connection.getresponse()
            answers[json.loads(response.read()).get("__type", response.status)] += 1
        except OSError as error:
            answers[type(error).__name__] += 1
        finally:
            connection.close()


threads = [threading.Thread(target=guess, args=(number,)) for number in range(connections)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(dict(answers))
