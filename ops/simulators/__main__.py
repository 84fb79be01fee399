"""`python -m ops.simulators meituan|opendelivery|tills --chain FILE --port N`: one process each."""

import argparse
import os
from pathlib import Path

import uvloop
from aiohttp import web

from ops.simulators.chain import Chain, read_chain
from ops.simulators.meituan.api import meituan_app
from ops.simulators.opendelivery.api import opendelivery_app
from ops.simulators.tills.api import tills_app
from ops.simulators.tills.behaviour import Behaviour

PLATFORMS = {"meituan": meituan_app, "opendelivery": opendelivery_app}


def main() -> None:
    arguments = _parser().parse_args()
    chain = read_chain(arguments.chain, os.environ)
    app = _app(chain, arguments)
    print(f"{arguments.what} simulator on http://127.0.0.1:{arguments.port}", flush=True)
    web.run_app(
        app,
        host="127.0.0.1",
        port=arguments.port,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )


def _app(chain: Chain, arguments: argparse.Namespace) -> web.Application:
    if arguments.what == "tills":
        behaviour = Behaviour(
            mode=arguments.mode,
            accept_seconds=arguments.accept_seconds,
            cook_seconds=arguments.cook_seconds,
        )
        return tills_app(chain, arguments.callbacks_to, behaviour)
    account = chain.account(arguments.what, arguments.account)
    return PLATFORMS[arguments.what](chain, account, seed=arguments.seed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ops.simulators", description=__doc__)
    parser.add_argument("what", choices=[*PLATFORMS, "tills"])
    parser.add_argument("--chain", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--account", help="a platform's account, if the chain has several")
    parser.add_argument("--mode", default="accept", help="tills: how all stores behave at first")
    parser.add_argument("--accept-seconds", type=float, default=0.3)
    parser.add_argument("--cook-seconds", type=float, default=1.0)
    parser.add_argument(
        "--callbacks-to",
        default=os.environ.get("SYSTEM2_PUBLIC_URL", "http://127.0.0.1:7100"),
        help="tills: the base address of our ingress",
    )
    return parser


if __name__ == "__main__":
    main()
