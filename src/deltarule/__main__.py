"""``python -m deltarule`` is the command ``deltarule``."""

from deltarule.cli import main

if __name__ == "__main__":
    main()
