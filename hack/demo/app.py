"""The demo's application. It uses only environment variables: it sends one chat completion and then waits."""

import json
import os
import time
import urllib.request

request = urllib.request.Request(
    os.environ["HOLYSHEEP_BASE_URL"] + "/chat/completions",
    data=json.dumps({"model": "gpt-4.1", "messages": [{"role": "user", "content": "Who keeps the key?"}]}).encode(),
    headers={"Authorization": "Bearer " + os.environ["HOLYSHEEP_API_KEY"], "Content-Type": "application/json"})
with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as response:
    print("application: " + json.load(response)["choices"][0]["message"]["content"], flush=True)
time.sleep(600)
