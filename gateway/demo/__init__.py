"""How is the whole gateway shown on one machine, to somebody who has just installed it?"""

from gateway.demo.stage import run

__all__ = ["run"]
