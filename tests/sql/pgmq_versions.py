"""The versions of PGMQ to test with: the wheel's, and older ones where their SQL is at hand.

Hosted Supabase runs 1.4.4 and 1.5.1. Their SQL is not part of this repository. It is PGMQ's own
`pgmq-extension/sql/pgmq.sql` of the tags v1.4.4 and v1.5.1, saved as `pgmq--<version>.sql` in the
folder that `MESHHOOK_PGMQ_SQL` names, by default `../shared/pgmq` beside the checkout.
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

from tests.docs.snippets import ROOT

VARIABLE = "MESHHOOK_PGMQ_SQL"
FOLDER = Path(os.environ.get(VARIABLE) or ROOT.parent / "shared" / "pgmq")

PLAIN = "plain"
"""PGMQ as plain SQL in the schema pgmq, as in the embedded stack."""

HOSTED = ("1.4.4", "1.5.1")
"""The versions that hosted Supabase runs."""

OLDER = tuple(version for version in HOSTED if (FOLDER / f"pgmq--{version}.sql").is_file())
"""Those of them whose SQL is here."""

# MeshHook reads and writes the tables of queues itself. An update gives them the columns of the new
# version, and replaces each function and type.
_UPDATE = """
do $$
declare
  v_object record;
  v_table text;
begin
  for v_object in
    select format('drop function %s', p.oid::regprocedure) as drop
    from pg_proc p where p.pronamespace = 'pgmq'::regnamespace
  loop
    execute v_object.drop;
  end loop;
  drop type pgmq.metrics_result;
  alter type pgmq.message_record add attribute headers jsonb;
  for v_table in select unnest(array['q_', 'a_']) || lower(m.queue_name) from pgmq.meta m loop
    execute format('alter table pgmq.%I add column headers jsonb', v_table);
  end loop;
end
$$;
"""


def plain_sql() -> str:
    """Read PGMQ's own SQL from the wheel that carries it."""
    return (_wheel() / "pgmq.sql").read_text()


def wheel_version() -> str:
    """Return the version of PGMQ that the wheel carries."""
    return (_wheel() / "VERSION").read_text().strip()


def write_extension(folder: Path, version: str) -> None:
    """Write an extension that `postgres` may create and that then belongs to it.

    On Supabase its script runs as a superuser, and all that it makes is given to `postgres` then.

    Args:
        folder: Where it is written; made if it is not there.
        version: The version to create where none is named.
    """
    folder.mkdir(parents=True)
    control = f"default_version = '{version}'\nrelocatable = false\nschema = pgmq\n"
    (folder / "pgmq.control").write_text(f"{control}superuser = false\n")
    if version == wheel_version():
        (folder / f"pgmq--{version}.sql").write_text(plain_sql())
        return
    for each in OLDER:
        (folder / f"pgmq--{each}.sql").write_text(_older_sql(each))
    (folder / "pgmq--1.4.4--1.5.1.sql").write_text(_UPDATE + _functions(_older_sql("1.5.1")))


def left_out() -> list[str]:
    """Return what a run says of the versions that it leaves out: nothing where none is."""
    missing = [version for version in HOSTED if version not in OLDER]
    if not missing:
        return []
    return [
        f"left out: PGMQ {', '.join(missing)}; to test with it, save pgmq-extension/sql/pgmq.sql",
        f"of its tag as pgmq--<version>.sql in a folder, and set {VARIABLE} to that folder",
    ]


def _older_sql(version: str) -> str:
    return (FOLDER / f"pgmq--{version}.sql").read_text()


def _functions(text: str) -> str:
    """Return the part of a version's SQL behind its tables and rows' types."""
    heading = re.search(r"^-- Functions$", text, re.MULTILINE)
    assert heading is not None
    return text[heading.start() :]


def _wheel() -> Path:
    spec = importlib.util.find_spec("pgmq")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "sql"
