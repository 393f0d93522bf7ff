"""Speaks to a customer with wechatpy's client, which knows a base URL and a key, and no secret of WeCom's.

Prints a line of JSON for each step.
"""

import io
import json
import os

from wechatpy.exceptions import WeChatClientException
from wechatpy.work import WeChatClient

BASE, KEY = os.environ["BASE"] + "/cgi-bin/", os.environ["KEY"]
ACCOUNT, CUSTOMER = os.environ["ACCOUNT"], os.environ["CUSTOMER"]
# The length decides whether the gateway keeps the file or streams it.
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * int(os.environ["KIBIBYTES"]) * 4


class Client(WeChatClient):
    API_BASE_URL = BASE


class ClientThatAsksForTokens(Client):
    """wechatpy has the address of gettoken in its code, beside the base URL."""

    def fetch_access_token(self):
        params = {"corpid": self.corp_id, "corpsecret": self.secret}
        return self._fetch_access_token(url=BASE + "gettoken", params=params)


def say(step, **what):
    print(json.dumps({"step": step, **what}), flush=True)


def refusal(call):
    try:
        call()
    except WeChatClientException as error:
        return {"errcode": error.errcode, "status": error.response.status_code}
    return {"errcode": 0}


if os.environ["HOW"] == "key":
    client = Client(os.environ["CORP"], "not needed", access_token=KEY)
else:
    client = ClientThatAsksForTokens(os.environ["CORP"], KEY)

say("state", state=client.kf.get_service_state(ACCOUNT, CUSTOMER)["service_state"])
how = os.environ["HOW"]
sent = client.kf_message.send_text(CUSTOMER, ACCOUNT, "您好，有什么可以帮您？", msgid=f"from-python-{how}")
say("text", msgid=sent["msgid"])
again = lambda: client.kf_message.send_text(CUSTOMER, ACCOUNT, "您好", msgid=f"from-python-{how}")
say("again", **refusal(again))
uploaded = client.media.upload("image", ("图.png", io.BytesIO(PICTURE), "image/png"))
say("upload", type=uploaded["type"])
# wechatpy's own `media.download` has WeCom's address in its code.
downloaded = client.get("media/get", params={"media_id": uploaded["media_id"]})
name = downloaded.headers["content-disposition"]
say("download", whole=downloaded.content == PICTURE, name=name.encode("latin-1").decode())
sent = client.kf_message.send_image(CUSTOMER, ACCOUNT, uploaded["media_id"])
say("image", msgid=sent["msgid"])
say("gone", **refusal(lambda: client.get("media/get", params={"media_id": "nothing"})))
say("customers", known=len(client.kf.batchget_customer([CUSTOMER])["customer_list"]))
say("off the list", **refusal(lambda: client.user.get("someone")))
