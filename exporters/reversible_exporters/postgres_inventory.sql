-- What does the database hold? For database.json: each object by class, and by name as DDL writes it.

-- name: objects
WITH ours AS (
  SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')
SELECT CASE relkind WHEN 'S' THEN 'sequences' WHEN 'v' THEN 'views' WHEN 'm' THEN 'materialized_views'
         WHEN 'i' THEN 'indexes' WHEN 'I' THEN 'indexes' WHEN 'f' THEN 'foreign_tables'
         WHEN 'c' THEN 'composite_types' ELSE CASE WHEN relispartition THEN 'partitions' ELSE 'tables' END END,
       oid::regclass::text
  FROM pg_class WHERE relkind <> 't' AND relpersistence <> 't' AND relnamespace IN (SELECT oid FROM ours)
UNION ALL
SELECT 'materialized_views_without_data', oid::regclass::text
  FROM pg_class WHERE relkind = 'm' AND NOT relispopulated AND relnamespace IN (SELECT oid FROM ours)
UNION ALL
SELECT 'constraints', conrelid::regclass || '.' || quote_ident(conname) || ': ' || pg_get_constraintdef(oid)
  FROM pg_constraint WHERE contype <> 'n' AND conrelid <> 0 AND connamespace IN (SELECT oid FROM ours)
UNION ALL
SELECT 'functions', oid::regprocedure::text FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours)
UNION ALL
SELECT 'triggers', tgrelid::regclass || '.' || quote_ident(tgname) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'policies', polrelid::regclass || '.' || quote_ident(polname) FROM pg_policy
UNION ALL
SELECT CASE typtype WHEN 'e' THEN 'enums' WHEN 'd' THEN 'domains' ELSE 'ranges' END, oid::regtype::text
  FROM pg_type WHERE typtype IN ('e', 'd', 'r') AND typnamespace IN (SELECT oid FROM ours)
UNION ALL
SELECT 'extensions', extname || ' ' || extversion FROM pg_extension
UNION ALL
SELECT 'schemas', oid::regnamespace::text FROM ours
UNION ALL
SELECT 'comments', pg_describe_object(classoid, objoid, objsubid) FROM pg_description WHERE objoid >= 16384
UNION ALL
SELECT 'grants', c.oid::regclass || ': ' || item::text FROM pg_class c, unnest(relacl) item
 WHERE relnamespace IN (SELECT oid FROM ours)
UNION ALL
SELECT 'row_level_security', oid::regclass::text FROM pg_class
 WHERE relrowsecurity AND relnamespace IN (SELECT oid FROM ours);

-- name: tables
-- Large objects are content outside all tables; where there are any, the two catalogs that hold them leave as tables.
SELECT c.oid, n.nspname, c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind,
       CASE WHEN c.relkind = 'p' THEN
         (SELECT CASE WHEN bool_and(l.reltuples >= 0) THEN sum(l.reltuples) ELSE -1 END
            FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid WHERE t.isleaf)
         ELSE c.reltuples END,
       CASE WHEN c.relkind = 'p' THEN (SELECT sum(pg_table_size(relid)) FROM pg_partition_tree(c.oid))
            WHEN c.relkind = 'r' THEN pg_table_size(c.oid) END,
       has_table_privilege(c.oid, 'SELECT'), has_schema_privilege(n.oid, 'USAGE'),
       has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'
   AND (n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        OR c.oid IN ('pg_catalog.pg_largeobject'::regclass, 'pg_catalog.pg_largeobject_metadata'::regclass)
           AND EXISTS (SELECT FROM pg_largeobject_metadata))
 ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C";

-- name: columns
-- With the type below any domains: "below" climbs down until it is none.
WITH RECURSIVE below(attnum, oid, typmod, typtype, typbasetype, name, namespace) AS (
  SELECT a.attnum, t.oid, a.atttypmod, t.typtype, t.typbasetype, t.typname, t.typnamespace
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
   WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT b.attnum, t.oid, d.typtypmod, t.typtype, t.typbasetype, t.typname, t.typnamespace
    FROM below b JOIN pg_type d ON d.oid = b.oid JOIN pg_type t ON t.oid = b.typbasetype
   WHERE b.typtype = 'd')
SELECT a.attname, format_type(a.atttypid, a.atttypmod),
       CASE WHEN n.nspname = 'pg_catalog' THEN b.name ELSE '' END, b.typmod, b.typtype = 'e',
       NOT (a.attnotnull OR (t.typtype = 'd' AND t.typnotnull)), pg_get_expr(ad.adbin, ad.adrelid),
       CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END,
       col_description(a.attrelid, a.attnum),
       CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END,
       CASE a.attgenerated WHEN 's' THEN 'stored' WHEN 'v' THEN 'virtual' END,
       CASE WHEN t.typtype = 'd' THEN t.oid::regtype::text END
  FROM below b
  JOIN pg_attribute a ON a.attrelid = %s AND a.attnum = b.attnum
  JOIN pg_type t ON t.oid = a.atttypid
  JOIN pg_namespace n ON n.oid = b.namespace
  LEFT JOIN pg_attrdef ad ON ad.adrelid = a.attrelid AND ad.adnum = a.attnum
 WHERE b.typtype <> 'd'
 ORDER BY a.attnum;

-- name: keys
-- A foreign key to a partition names the partitioned table, which is what the bundle holds.
SELECT k.conname, k.contype, pg_get_constraintdef(k.oid), k.convalidated,
       (SELECT array_agg(a.attname::text ORDER BY x.n) FROM unnest(k.conkey) WITH ORDINALITY x(attnum, n)
          JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.attnum),
       (SELECT array_agg(a.attname::text ORDER BY x.n) FROM unnest(k.confkey) WITH ORDINALITY x(attnum, n)
          JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.attnum),
       quote_ident(rn.nspname) || '.' || quote_ident(r.relname)
  FROM pg_constraint k
  LEFT JOIN pg_class r ON r.oid = coalesce(pg_partition_root(nullif(k.confrelid, 0)), nullif(k.confrelid, 0))
  LEFT JOIN pg_namespace rn ON rn.oid = r.relnamespace
 WHERE k.conrelid = %s AND k.conparentid = 0 AND k.contype IN ('p', 'u', 'f', 'c')
 ORDER BY k.contype, k.conname COLLATE "C";

-- name: sequences
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname),
       CASE WHEN has_sequence_privilege(c.oid, 'USAGE, SELECT') THEN pg_sequence_last_value(c.oid) END,
       s.seqincrement
  FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relpersistence <> 't' AND n.nspname !~ '^pg_'
 ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C";
