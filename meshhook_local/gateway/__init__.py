"""An HTTP gateway that answers as Supabase's Data API does: API keys, then PostgREST 14.

It is a process of its own (`python -m meshhook_local.gateway`). A request passes through
`authentication` (who), `query_string` and `payload` (what), `rpc` or `relations` (which SQL), and
`transaction` (the one transaction), to `response`. Data is turned into JSON by Postgres alone.

It is smaller than PostgREST, and says so where it is asked for what it lacks:

- Tables and views are read, not written: a write that the role may do is PGRST127.
- A read takes plain columns, the common operators, order and range; the rest of the query language
  is PGRST100. Counts are always exact, also where a planned or estimated one is asked for.
- The answer is JSON; CSV, GeoJSON, plans and `nulls=stripped` are PGRST107, the OpenAPI
  description is PGRST126.
- `Prefer: timezone`, `max-affected` and `tx` are unknown preferences.
- A serialization failure (40001) is answered once; PostgREST 14 repeats it without end.
- A call that the database leaves half way is PGRST001, also where PostgREST would have heard 57P01.
- While the database is down, it is tried again after at most a second, not after up to 32.
- `safeupdate`, which refuses updates and deletes without a condition, is not loaded.
"""
