"""Meituan's answers: the envelope and the error codes of its documentation."""

import json
from typing import Any

from aiohttp import web

NO_STORE = 1001

MESSAGES = {
    700: "系统异常",
    701: "缺少参数",
    702: "app_id 不存在",
    703: "签名验证错误",
    705: "参数格式错误",
    711: "请求过于频繁",
    806: "订单不存在",
    808: "操作失败, 订单状态已变更",
    1001: "门店不存在",
    1022: "订单已完成, 不能取消",
    4001: "access_token 已过期",
}

# The faults a caller may ask for on top of those of the transport.
FAULT_KINDS = frozenset({"429", "500", "502", *map(str, MESSAGES)})


class Refused(Exception):
    """The platform answers with an error code instead of data."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def data(value: Any) -> web.Response:
    return web.json_response({"data": value}, dumps=_dumps)


def error(code: int) -> web.Response:
    return web.json_response(
        {"data": "ng", "error": {"code": code, "msg": MESSAGES[code]}}, dumps=_dumps
    )


def fault(kind: str) -> web.Response:
    """Too many calls are told by code 711 under HTTP 200; a gateway's failure is not JSON."""
    if kind in ("500", "502"):
        return web.Response(status=int(kind), text="<html>Bad gateway</html>")
    return error(711 if kind == "429" else int(kind))


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
