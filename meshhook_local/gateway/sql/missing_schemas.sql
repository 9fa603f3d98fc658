-- Those of the schemas in $1 that do not exist.
select wanted.name
from unnest($1::text[]) as wanted(name)
where to_regnamespace(quote_ident(wanted.name)) is null
