"""Load model files while Python's audit events are watched; fail if loading does more than read.

python audited_load.py GOOD HOSTILE...

GOOD is loaded first, so that everything is imported. Then each HOSTILE is loaded or refused. No
event may come but the opening of that very file.
"""

import sys

from deltarule.errors import ModelFileError
from deltarule.files import load_model

events: list[str] = []
watching = ""


def hook(event: str, args: tuple[object, ...]) -> None:
    # A number in place of a path is a descriptor that is open already.
    if watching and not (event == "open" and (args[0] == watching or type(args[0]) is int)):
        events.append(f"{event} {args!r:.200}")


def watched(path: str) -> str:
    global watching
    watching = path
    try:
        load_model(path)
        outcome = "loaded"
    except ModelFileError:
        outcome = "refused"
    finally:
        watching = ""
    return outcome


def main(good: str, *hostile: str) -> None:
    global watching
    sys.addaudithook(hook)
    watched(good)
    events.clear()
    watching = good
    eval("1")
    watching = ""
    if len(events) < 2:  # compile and exec
        raise SystemExit(f"the hook sees nothing: {events}")
    for path in hostile:
        events.clear()
        print(watched(path), *events, sep="\t")


if __name__ == "__main__":
    main(*sys.argv[1:])
