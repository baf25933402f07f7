-- Values that exports lose: research on 15 export paths found a silent loss for each of these somewhere.
CREATE SCHEMA torture;
CREATE TYPE torture.humeur AS ENUM ('bien', 'mal', 'très "bien"', '');
CREATE DOMAIN torture.positif AS numeric(12,3) CHECK (VALUE >= 0);
CREATE DOMAIN torture.code AS torture.positif;
CREATE DOMAIN torture.mot AS text NOT NULL;
CREATE TYPE torture.point3 AS (x integer, y text, z numeric);
CREATE TYPE torture.intervalle AS RANGE (subtype = float8);

CREATE TABLE torture.nombres (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, i2 int2, i4 int4, i8 int8, o oid, f4 float4, f8 float8,
  n numeric, n10 numeric(10,2), n18 numeric(18,0), n19 numeric(19,4), n38 numeric(38,8), n38s numeric(38,38),
  n39 numeric(39,2), nneg numeric(5,-2), nsub numeric(3,5), m money, b bool, d torture.positif, c torture.code
);
INSERT INTO torture.nombres (i2,i4,i8,o,f4,f8,n,n10,n18,n19,n38,n38s,n39,nneg,nsub,m,b,d,c) VALUES
 (1,1,1,1,1,1,1,1,1,1,1,0.5,1,100,0.00001,1,true,1,1),
 (-32768,-2147483648,-9223372036854775808,0,'-Infinity','-Infinity','-Infinity',-99999999.99,-999999999999999999,-999999999999999.9999,-999999999999999999999999999999.99999999,-0.99999999999999999999999999999999999999,-1,-99999,-0.00999,-92233720368547758.08,false,0,999999999.999),
 (32767,2147483647,9223372036854775807,4294967295,'Infinity','Infinity','Infinity',99999999.99,999999999999999999,999999999999999.9999,999999999999999999999999999999.99999999,0.99999999999999999999999999999999999999,9999999999999999999999999999999999999.99,99999,0.00999,92233720368547758.07,NULL,0.001,0.001),
 (0,0,9007199254740993,0,'NaN','NaN','NaN','NaN','NaN','NaN','NaN','NaN','NaN','NaN','NaN',0,true,'NaN','NaN'),
 (NULL,NULL,NULL,NULL,'-0','-0',-0.0,0.00,0,0.0000,0.00000000,0,0,0,0,-0.01,false,NULL,NULL),
 (1,10000,100000000,10000,1e-45,5e-324,1e-1000,0.10,10000,0.0001,0.00000001,1e-38,0.01,-100,0.00001,1234567.89,true,10.5,10000),
 (1,1,1,1,16777217,0.1,123456789012345678901234567890.123456789012345678901234567890,12345678.90,123456789012345678,123456789012345.6789,123456789012345678901234567890.12345678,0.12345678901234567890123456789012345678,0,0,0,0,true,0,0),
 (1,1,1,1,3.4028235e38,1.7976931348623157e308,1e1000,0,0,0,100000000,0,0,0,0,0,true,100000,100000000),
 (1,1,1,1,0.3,0.30000000000000004,1.10,1000,10000000000000000,9999.9999,10000.0001,0.0001,0,0,0,0,true,0,0),
 (1,1,1,1,1.1754944e-38,2.2250738585072014e-308,1.100,0.01,1,0.5,0.5,0,0,0,0,0,true,0,0);

CREATE TABLE torture.temps (
  id integer PRIMARY KEY, d date, t time, t3 time(3), tz timetz, ts timestamp, ts0 timestamp(0), tsz timestamptz, i interval
);
INSERT INTO torture.temps VALUES
 (1,'2026-11-24','10:00','10:00:00.123','10:00+01','2026-11-24 10:00:00.000001','2026-11-24 10:00','2026-11-24 10:00:00.123456+01','1 mon 2 days 03:04:05.000006'),
 (2,'infinity','24:00','24:00','24:00+14','infinity','infinity','infinity','infinity'),
 (3,'-infinity','00:00','00:00','00:00-14','-infinity','-infinity','-infinity','-infinity'),
 (4,'4713-01-01 BC','23:59:59.999999','23:59:59.999','23:59:59.999999-15:59','4713-01-01 00:00:00 BC','0044-03-15 12:00 BC','0044-03-15 12:00:00+00 BC','-178000000 years'),
 (5,'5874897-12-31','00:00:00.000001','12:00','12:00Z','294276-12-31 23:59:59.999999','9999-12-31 23:59:59','294276-12-31 23:59:59.999999+00','178000000 years'),
 (6,'0001-01-01','12:34:56','12:34:56','01:02:03.4+05:30','0001-01-01 00:00:00','0001-01-01','0001-01-01 00:00:00+00','1 mon -1 day 00:00:00.000001'),
 (7,'9999-12-31','12:34:56.1','12:34:56.1','00:00Z','9999-12-31 23:59:59.999999','1969-12-31 23:59:59','9999-12-31 23:59:59.999999+00','-1 mon +30 days'),
 (8,'10000-01-01','12:34:56.12','00:00','00:00Z','10000-01-01 00:00:00','1970-01-01','10000-01-01 00:00:00+00','00:00:00'),
 (9,'1969-12-31','12:34:56.100000','00:00','00:00Z','1969-12-31 23:59:59.999999','2000-01-01','1969-12-31 23:59:59.999999+00','720:00:00'),
 (10,'0001-12-31 BC','00:00','00:00','00:00Z','0001-12-31 23:59:59.999999 BC','2000-02-29','0001-12-31 23:59:59.999999+00 BC','-00:00:00.000001'),
 (11,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL),
 (12,'2026-10-25','02:30','02:30','02:30+02','2026-10-25 02:30','2026-03-29 02:30','2026-10-25 02:30:00+02','1 day');

CREATE TABLE torture.textes (
  id integer PRIMARY KEY, t text, v varchar(40), c char(6), n name, ch "char", mot torture.mot DEFAULT 'x', e torture.humeur
);
INSERT INTO torture.textes VALUES
 (1,'','','','','',''  ,''),
 (2,NULL,NULL,NULL,NULL,NULL,'NULL',NULL),
 (3,'NULL','NULL','NULL','NULL','N','\N','bien'),
 (4,'\N','\.','\.','\.','\','\.','mal'),
 (5,'"','""','"a"','"','"','","','très "bien"'),
 (6,E'a\nb',E'a\rb',E'a\r\nb',E'\n',E'\n',E'\n\n',NULL),
 (7,' avant','après ','a ','  ',' ',E'\t',NULL),
 (8,'🙂🇫🇷',E'e\u0301te\u0301','été',E'\u202E',NULL,'﷽',NULL),
 (9,E'\\x00ff',',','a,b',';','|','t',NULL),
 (10,repeat('long ', 20000),'-0','1e5','NaN','1','f',NULL),
 (11,E'\u0001\u001f\u007f','Infinity','infini','nan','0','true',NULL),
 (12,E'\uFEFFbom','é','zoé',E'\u00e9',E'\u007f','2026-01-01',NULL);

CREATE TABLE torture.formes (
  id integer PRIMARY KEY, ai integer[], at text[], an numeric[], ad date[], j json, jb jsonb, u uuid, by bytea,
  bi bit(5), bv varbit, ip inet, ci cidr, ma macaddr, ma8 macaddr8, po point, ci2 circle, pa path, r int4range,
  tr tstzrange, mr int4multirange, fr torture.intervalle, co torture.point3, ca torture.point3[], ea torture.humeur[],
  ts tsvector, tq tsquery, x xid, l pg_lsn, rc regclass, jp jsonpath
);
INSERT INTO torture.formes VALUES
 (1,'{1,2,3}','{a,b}','{1.10,NaN}','{infinity,0044-03-15 BC}','{"a" : 1,  "a":2}','{"a":1}','00000000-0000-0000-0000-000000000000','\x','00000','','10.0.0.1','10.0.0.0/8','08:00:2b:01:02:03','08:00:2b:01:02:03:04:05','(1,2)','<(1,2),3>','[(0,0),(1,1)]','[1,5)','[2026-01-01 00:00+01,)','{[1,2),[5,6)}','[0.1,0.3]','(1,a,1.10)','{"(1,a,2)","(,,)"}','{bien,NULL}','a:1 b:2','a & b','1','0/16AE7F8','torture.textes','$.a'),
 (2,'{}','{}','{}','{}','null','null','ffffffff-ffff-ffff-ffff-ffffffffffff','\x00','11111','101','10.0.0.1/8','10.1.0.0/16','00:00:00:00:00:00','00:00:00:00:00:00:00:00','(NaN,Infinity)','<(0,0),0>','((0,0),(1,1))','empty','empty','{}','empty','(,,)','{}','{}','','','0','0/0',NULL,'$'),
 (3,'[0:2]={7,8,NULL}','{NULL,"NULL","","a,b","{}","\"\\"}','{NULL}','{NULL}','123456789012345678901234567890.10','123456789012345678901234567890.10','123e4567-e89b-12d3-a456-426614174000','\x0001feff0d0a','10101','0','::1','::/0','ff:ff:ff:ff:ff:ff','ff:ff:ff:ff:ff:ff:ff:ff','(0,-0)',NULL,NULL,'(,)','(,)','{(,)}','(,)',ROW(NULL,'',NULL),'{NULL}','{""}',NULL,NULL,'4294967295',NULL,NULL,NULL),
 (4,'{{1,2},{3,4}}','{{a,NULL},{"é","🙂"}}',NULL,NULL,'{"grand": 1e400}','{"zéro": 1.000, "é": "\u0001"}',NULL,NULL,NULL,NULL,'2001:db8::ff/64',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL),
 (5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,ROW(NULL,NULL,NULL),NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);

CREATE TABLE torture.sans_colonne ();
INSERT INTO torture.sans_colonne DEFAULT VALUES;
INSERT INTO torture.sans_colonne DEFAULT VALUES;
CREATE TABLE torture.sans_ligne (id integer PRIMARY KEY, t text NOT NULL, quand timestamptz);
CREATE TABLE torture.une_colonne (t text);
INSERT INTO torture.une_colonne VALUES (NULL), (''), (NULL), ('a'), ('');
CREATE TABLE torture.doublons (quand timestamptz NOT NULL, valeur float8);
INSERT INTO torture.doublons SELECT '2026-01-01 00:00+00'::timestamptz + (g % 50) * interval '1 hour', (g % 50) / 7.0
  FROM generate_series(1, 300) g;

CREATE TABLE torture."Or der""s'é.x" (
  "Id" integer, id integer, "a.b" text DEFAULT 'l''or', "sélect" text, "quote""" text,
  CONSTRAINT "Clé ""P""" PRIMARY KEY ("Id", id), CONSTRAINT "vérifié" CHECK ("a.b" <> ';')
);
INSERT INTO torture."Or der""s'é.x" VALUES (1, 1, 'x', NULL, ''), (1, 2, '', 'y', NULL);
COMMENT ON TABLE torture."Or der""s'é.x" IS 'Nom; difficile''s -- vraiment /* oui */';
COMMENT ON COLUMN torture."Or der""s'é.x"."a.b" IS 'Un point dans le nom';

CREATE TABLE torture.mesures (id bigint, jour date NOT NULL, v float8, PRIMARY KEY (id, jour)) PARTITION BY RANGE (jour);
CREATE TABLE torture.mesures_a PARTITION OF torture.mesures FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE torture.mesures_b PARTITION OF torture.mesures FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')
  PARTITION BY HASH (id);
CREATE TABLE torture.mesures_b0 PARTITION OF torture.mesures_b FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TABLE torture.mesures_x PARTITION OF torture.mesures DEFAULT;
INSERT INTO torture.mesures SELECT g, date '2025-06-01' + g, g / 3.0 FROM generate_series(1, 1000) g;
CREATE TABLE torture.parent (id integer PRIMARY KEY, t text);
CREATE TABLE torture.enfant (extra text) INHERITS (torture.parent);
INSERT INTO torture.parent VALUES (1, 'parent');
INSERT INTO torture.enfant VALUES (2, 'enfant', 'x');

CREATE TABLE torture.client (id integer PRIMARY KEY, nom text NOT NULL);
CREATE TABLE torture.commande (
  id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, client integer REFERENCES torture.client,
  mesure bigint, jour date, ht numeric(10,2) NOT NULL, ttc numeric(12,4) GENERATED ALWAYS AS (ht * 1.2) STORED,
  double integer GENERATED ALWAYS AS (id * 2) VIRTUAL, passee timestamptz NOT NULL, locale timestamp, taux float8,
  etat text, autre text,
  FOREIGN KEY (mesure, jour) REFERENCES torture.mesures, UNIQUE (client, passee)
);
INSERT INTO torture.client SELECT g, 'client ' || g FROM generate_series(1, 200) g;
INSERT INTO torture.commande (client, mesure, jour, ht, passee, locale, taux, etat, autre)
  SELECT 1 + g % 200, CASE WHEN g % 3 = 0 THEN g END, CASE WHEN g % 2 = 0 THEN date '2025-06-01' + g END,
         g * 1.37, '2026-01-01 00:00+00'::timestamptz + g * interval '37 minutes', '2026-01-01'::timestamp + g * interval '1 h',
         1.0 / g, CASE WHEN g % 5 = 0 THEN '' WHEN g % 7 = 0 THEN NULL ELSE 'état ' || g % 11 END, 'autre ' || g % 13
    FROM generate_series(1, 900) g;
CREATE TABLE torture.secrets (id integer PRIMARY KEY, qui text);
INSERT INTO torture.secrets VALUES (1, 'a'), (2, 'b'), (3, 'c');
ALTER TABLE torture.secrets ENABLE ROW LEVEL SECURITY;
CREATE POLICY qui_lit ON torture.secrets FOR SELECT USING (qui = current_user);

CREATE SEQUENCE torture.facture START 1000;
SELECT nextval('torture.facture'), nextval('torture.facture');
CREATE SEQUENCE torture.jamais;
CREATE INDEX commande_etat ON torture.commande (lower(etat)) WHERE etat IS NOT NULL;
CREATE UNIQUE INDEX "Index; bizarre" ON torture.client (nom);
CREATE VIEW torture.vue AS SELECT id, nom FROM torture.client WHERE nom <> ';';
COMMENT ON VIEW torture.vue IS 'Une vue';
CREATE MATERIALIZED VIEW torture.vue_m AS SELECT count(*) AS n FROM torture.commande;
CREATE FUNCTION torture.f(a integer) RETURNS integer LANGUAGE sql AS $$ SELECT a; $$;
CREATE FUNCTION torture.f(a text) RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN a = ';' THEN 'x' ELSE a END; SELECT a; END;
CREATE PROCEDURE torture.p() LANGUAGE plpgsql AS $corps$ BEGIN PERFORM 1; END $corps$;
CREATE FUNCTION torture.declenche() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER "avant;" BEFORE UPDATE OF nom ON torture.client FOR EACH ROW EXECUTE FUNCTION torture.declenche();
COMMENT ON TRIGGER "avant;" ON torture.client IS 'déclencheur';
COMMENT ON CONSTRAINT commande_client_fkey ON torture.commande IS 'clé étrangère';
COMMENT ON FUNCTION torture.f(integer) IS 'fonction';
COMMENT ON TYPE torture.humeur IS 'type';
COMMENT ON DOMAIN torture.positif IS 'domaine';
COMMENT ON SCHEMA torture IS 'schéma';
CREATE RULE pas_touche AS ON DELETE TO torture.vue DO INSTEAD NOTHING;
ALTER TABLE torture.commande ADD CONSTRAINT cher CHECK (ht > 0) NOT VALID;
