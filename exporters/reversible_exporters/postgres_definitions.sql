-- How does the server itself define each object? One query per class: the parts of the name, and a fragment of SQL that the
-- statement which creates the object must contain, word by word. Filters as in postgres_witness.sql; search_path is empty.

-- name: view
SELECT ARRAY[nspname::text, relname], pg_get_viewdef(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
 WHERE relkind IN ('v') AND relpersistence <> 't' AND c.oid >= 16384;

-- name: materialized view
SELECT ARRAY[nspname::text, relname], pg_get_viewdef(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
 WHERE relkind = 'm' AND c.oid >= 16384;

-- name: index
SELECT ARRAY[nspname::text, relname], pg_get_indexdef(indexrelid)
  FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_namespace n ON n.oid = relnamespace
 WHERE relpersistence <> 't' AND c.oid >= 16384;

-- name: constraint
SELECT ARRAY[nspname::text, relname, conname], pg_get_constraintdef(k.oid)
  FROM pg_constraint k JOIN pg_class r ON r.oid = conrelid JOIN pg_namespace n ON n.oid = relnamespace
 WHERE contype IN ('p', 'u', 'f', 'c', 'x') AND coninhcount = 0 AND conparentid = 0 AND relkind IN ('r', 'p') AND r.oid >= 16384;

-- name: domain constraint
SELECT ARRAY[nspname::text, typname, conname], pg_get_constraintdef(k.oid)
  FROM pg_constraint k JOIN pg_type t ON t.oid = contypid JOIN pg_namespace n ON n.oid = typnamespace
 WHERE contype = 'c' AND t.oid >= 16384;

-- name: default
SELECT ARRAY[nspname::text, relname, attname],
       CASE attgenerated WHEN '' THEN 'DEFAULT ' || pg_get_expr(adbin, adrelid)
                         ELSE 'GENERATED ALWAYS AS (' || pg_get_expr(adbin, adrelid) || ')' END
  FROM pg_attrdef JOIN pg_attribute a ON attrelid = adrelid AND attnum = adnum
  JOIN pg_class c ON c.oid = adrelid JOIN pg_namespace n ON n.oid = relnamespace
 WHERE relkind IN ('r', 'p') AND NOT relispartition AND attinhcount = 0 AND c.oid >= 16384;

-- name: column
SELECT ARRAY[nspname::text, relname, attname], quote_ident(attname) || ' ' || format_type(atttypid, atttypmod)
  FROM pg_attribute JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace
 WHERE relkind IN ('r', 'p') AND NOT relispartition AND reloftype = 0 AND attnum > 0 AND NOT attisdropped AND attinhcount = 0
   AND relpersistence <> 't' AND c.oid >= 16384
UNION ALL
SELECT ARRAY[nspname::text, relname, attname], 'NOT NULL'
  FROM pg_attribute JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace
 WHERE relkind IN ('r', 'p') AND NOT relispartition AND reloftype = 0 AND attnum > 0 AND NOT attisdropped AND attinhcount = 0
   AND attnotnull AND relpersistence <> 't' AND c.oid >= 16384;

-- name: partition
SELECT ARRAY[nspname::text, relname], pg_get_expr(relpartbound, c.oid)
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relispartition AND relkind IN ('r', 'p') AND c.oid >= 16384;

-- name: function
SELECT ARRAY[nspname::text, proname], 'RETURNS ' || pg_get_function_result(p.oid)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE prokind IN ('f', 'w') AND p.oid >= 16384;

-- name: function body
SELECT ARRAY[nspname::text, proname], prosrc
  FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace JOIN pg_language l ON l.oid = prolang
 WHERE prokind IN ('f', 'w', 'p') AND lanname NOT IN ('c', 'internal') AND prosrc <> '' AND p.oid >= 16384;

-- name: trigger
SELECT ARRAY[nspname::text, relname, tgname], pg_get_triggerdef(t.oid)
  FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = relnamespace
 WHERE NOT tgisinternal AND tgparentid = 0 AND c.oid >= 16384;

-- name: type
SELECT ARRAY[nspname::text, typname], 'ENUM (' || string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) || ')'
  FROM pg_enum JOIN pg_type t ON t.oid = enumtypid JOIN pg_namespace n ON n.oid = typnamespace
 WHERE t.oid >= 16384 GROUP BY 1;

-- name: domain
SELECT ARRAY[nspname::text, typname], 'AS ' || format_type(typbasetype, typtypmod)
  FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace WHERE typtype = 'd' AND t.oid >= 16384;

-- name: sequence
SELECT ARRAY[nspname::text, relname], 'START WITH ' || seqstart || ' INCREMENT BY ' || seqincrement
  FROM pg_sequence JOIN pg_class c ON c.oid = seqrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid >= 16384;

-- name: comment
SELECT object_names, quote_literal(description)
  FROM pg_description x, LATERAL pg_identify_object_as_address(classoid, objoid, objsubid)
 WHERE objoid >= 16384 AND type IN ('schema', 'table', 'table column', 'view', 'materialized view', 'index', 'sequence');
