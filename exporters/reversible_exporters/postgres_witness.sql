-- What must a dump of the schema create? One query per class, each row the raw parts of one object's name.
-- Asked apart from postgres_inventory.sql, in other words: the witness must not repeat the export.
-- Of the user: oid from 16384 (FirstNormalObjectId), no member of an extension, not temporary.

-- name: schema
SELECT ARRAY[nspname::text] FROM pg_namespace n
 WHERE oid >= 16384 AND nspname !~ '^pg_' AND NOT EXISTS (
   SELECT FROM pg_depend WHERE classid = 'pg_namespace'::regclass AND objid = n.oid AND deptype = 'e');

-- name: table
SELECT ARRAY[(SELECT nspname::text FROM pg_namespace WHERE oid = relnamespace), relname] FROM pg_class c
 WHERE relkind IN ('r', 'p') AND NOT relispartition AND relpersistence <> 't' AND oid >= 16384
   AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_|^information_schema$') AND NOT EXISTS (
     SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e');

-- name: partition
SELECT ARRAY[(SELECT nspname::text FROM pg_namespace WHERE oid = relnamespace), relname] FROM pg_class c
 WHERE relkind IN ('r', 'p', 'f') AND relispartition AND relpersistence <> 't' AND oid >= 16384;

-- name: view
SELECT ARRAY[(SELECT nspname::text FROM pg_namespace WHERE oid = relnamespace), relname] FROM pg_class c
 WHERE relkind = 'v' AND relpersistence <> 't' AND oid >= 16384
   AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_|^information_schema$')
   AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e');

-- name: materialized view
SELECT ARRAY[(SELECT nspname::text FROM pg_namespace WHERE oid = relnamespace), relname] FROM pg_class c
 WHERE relkind = 'm' AND oid >= 16384
   AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e');

-- name: foreign table
SELECT ARRAY[(SELECT nspname::text FROM pg_namespace WHERE oid = relnamespace), relname] FROM pg_class c
 WHERE relkind = 'f' AND NOT relispartition AND oid >= 16384;

-- name: sequence
SELECT ARRAY[(SELECT nspname::text FROM pg_namespace WHERE oid = relnamespace), relname]
   FROM pg_class c JOIN pg_sequence ON seqrelid = c.oid
 WHERE relpersistence <> 't' AND c.oid >= 16384
   AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e');

-- name: index
-- Those of constraints come with the constraint.
SELECT ARRAY[(SELECT nspname::text FROM pg_namespace WHERE oid = relnamespace), relname]
   FROM pg_index i JOIN pg_class c ON c.oid = indexrelid
 WHERE relpersistence <> 't' AND c.oid >= 16384
   AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_|^information_schema$')
   AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))
   AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = indrelid AND deptype = 'e');

-- name: constraint
-- NOT NULL has a name of its own since PostgreSQL 18; the definition of the column carries it.
SELECT ARRAY[(SELECT nspname::text FROM pg_namespace WHERE oid = r.relnamespace), relname, conname]
   FROM pg_constraint k JOIN pg_class r ON r.oid = conrelid
 WHERE contype IN ('p', 'u', 'f', 'c', 'x') AND coninhcount = 0 AND conparentid = 0 AND relkind IN ('r', 'p')
   AND relpersistence <> 't' AND r.oid >= 16384
   AND r.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_|^information_schema$')
   AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = r.oid AND deptype = 'e');

-- name: domain constraint
SELECT ARRAY[(SELECT nspname::text FROM pg_namespace WHERE oid = typnamespace), typname, conname]
   FROM pg_constraint JOIN pg_type t ON t.oid = contypid
 WHERE contype = 'c' AND t.oid >= 16384
   AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_type'::regclass AND objid = t.oid AND deptype = 'e');

-- name: default
SELECT ARRAY[(SELECT nspname::text FROM pg_namespace WHERE oid = relnamespace), relname, attname]
  FROM pg_attrdef JOIN pg_attribute a ON attrelid = adrelid AND attnum = adnum JOIN pg_class c ON c.oid = adrelid
 WHERE relkind IN ('r', 'p') AND relpersistence <> 't' AND NOT attisdropped AND NOT relispartition AND attinhcount = 0
   AND c.oid >= 16384 AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_|^information_schema$')
   AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e');

-- name: function
SELECT ARRAY[(SELECT nspname::text FROM pg_namespace WHERE oid = pronamespace), proname] FROM pg_proc p
 WHERE oid >= 16384 AND pronamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_|^information_schema$') AND NOT EXISTS (
   SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype IN ('e', 'i'));

-- name: trigger
SELECT ARRAY[(SELECT nspname::text FROM pg_namespace WHERE oid = relnamespace), relname, tgname]
   FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
 WHERE NOT tgisinternal AND tgparentid = 0 AND c.oid >= 16384;

-- name: policy
SELECT ARRAY[(SELECT nspname::text FROM pg_namespace WHERE oid = relnamespace), relname, polname]
   FROM pg_policy JOIN pg_class c ON c.oid = polrelid;

-- name: rule
SELECT ARRAY[(SELECT nspname::text FROM pg_namespace WHERE oid = relnamespace), relname, rulename]
   FROM pg_rewrite w JOIN pg_class c ON c.oid = ev_class
 WHERE rulename <> '_RETURN' AND w.oid >= 16384;

-- name: type
SELECT ARRAY[(SELECT nspname::text FROM pg_namespace WHERE oid = typnamespace), typname]
   FROM pg_type t LEFT JOIN pg_class c ON c.oid = typrelid
 WHERE (typtype IN ('e', 'r') OR relkind = 'c') AND t.oid >= 16384
   AND typnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_|^information_schema$')
   AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_type'::regclass AND objid = t.oid AND deptype = 'e');

-- name: domain
SELECT ARRAY[(SELECT nspname::text FROM pg_namespace WHERE oid = typnamespace), typname] FROM pg_type t
 WHERE typtype = 'd' AND oid >= 16384
   AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_type'::regclass AND objid = t.oid AND deptype = 'e');

-- name: extension
SELECT ARRAY[extname::text] FROM pg_extension WHERE oid >= 16384;

-- name: comment
-- On what the classes above hold; the parts of a column, constraint or trigger begin with its table's or domain's.
SELECT CASE WHEN classoid = 'pg_type'::regclass THEN
              (SELECT ARRAY[nspname::text, typname] FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
                WHERE t.oid = objoid)
            WHEN type = 'domain constraint' THEN
              (SELECT ARRAY[nspname::text, typname, conname] FROM pg_constraint k JOIN pg_type t ON t.oid = contypid
                 JOIN pg_namespace n ON n.oid = typnamespace WHERE k.oid = objoid)
            ELSE object_names END
  FROM pg_description x, LATERAL pg_identify_object_as_address(classoid, objoid, objsubid)
 WHERE objoid >= 16384 AND type NOT IN ('extension', 'large object', 'cast', 'operator', 'access method')
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = x.classoid AND d.objid = x.objoid AND deptype = 'e');

-- name: grant
SELECT DISTINCT ARRAY[(SELECT nspname::text FROM pg_namespace WHERE oid = relnamespace), relname]
   FROM pg_class c, LATERAL aclexplode(relacl) acl
 WHERE grantee <> relowner AND relpersistence <> 't' AND oid >= 16384 AND NOT EXISTS (
   SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e');
