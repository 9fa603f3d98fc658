"""What the database's facts say about its health. Nothing here sends anything."""

from meshhook.cli.diagnosis.course import growth
from meshhook.cli.diagnosis.database import clock
from meshhook.cli.diagnosis.diagnose import diagnose
from meshhook.cli.diagnosis.facts import Facts, decode

__all__ = ["Facts", "clock", "decode", "diagnose", "growth"]
