"""The installed command, `linreg-lora`, and `python -m linreg_lora`: the command line in a process of its own."""

import gc

from linreg_lora import runtime

#: New objects after which cycles are looked for: imports make hundreds of thousands of objects, and few cycles.
_OBJECTS = 20_000


def run() -> None:
    """`cli.main` in a process that ends at once when it is done."""
    gc.set_threshold(_OBJECTS)
    from linreg_lora.cli import main

    try:
        main()
    except SystemExit as end:
        runtime.end_process(end.code if isinstance(end.code, int) else 0)


if __name__ == "__main__":
    run()
