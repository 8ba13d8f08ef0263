"""``python -m text2expert`` is the command ``text2expert``."""

from text2expert.cli import main

if __name__ == "__main__":
    main()
