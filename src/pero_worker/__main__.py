"""`python -m pero_worker`."""

from pero_worker.cli import main

if __name__ == "__main__":
    main()
