-- One column of each type of MySQL 9 and its edges, and each construct of a schema that MariaDB lacks or words otherwise.
-- Run under sql_mode ALLOW_INVALID_DATES.
CREATE TABLE entiers (
  id int NOT NULL PRIMARY KEY, ti tinyint, tu tinyint unsigned, si smallint, su smallint unsigned, mi mediumint,
  mu mediumint unsigned, i int, iu int unsigned, bi bigint, bu bigint unsigned, b bool, z int(7) unsigned zerofill,
  y year, b1 bit(1), b10 bit(10), b64 bit(64)
);
INSERT INTO entiers VALUES
  (1, -128, 0, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0, false, 0, 0, b'0', b'0', b'0'),
  (2, 127, 255, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, 9223372036854775807, 18446744073709551615,
   true, 42, 1901, b'1', b'1111111111', 0xFFFFFFFFFFFFFFFF),
  (3, 10, 10, 2570, 2570, 10, 13, 10, 13, 10, 9223372036854775808, 2, 9999999, 2155, b'1', b'0000001010', 0x010A0D2C22FBFCFD),
  (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE nombres (
  d65 decimal(65,30), d38 decimal(38,10), d39 decimal(39,0), d18 decimal(18,4), d5 decimal(5,0), dz decimal(9,3) unsigned zerofill,
  f float, f72 float(7,2), d double, d102 double(10,2)
);
INSERT INTO nombres VALUES
  (99999999999999999999999999999999999.999999999999999999999999999999, 9999999999999999999999999999.9999999999,
   999999999999999999999999999999999999999, 99999999999999.9999, 99999, 12.5, 16777216, 12345.67, 1.7976931348623157e308, 12345678.91),
  (-99999999999999999999999999999999999.999999999999999999999999999999, -9999999999999999999999999999.9999999999,
   -999999999999999999999999999999999999999, -99999999999999.9999, -99999, 0, 3.4028234e38, -0.01, 4.9406564584124654e-324, 0.1),
  (0.000000000000000000000000000001, 0.0000000001, 0, 0.0001, -1, 999999.999, 1.17549435e-38, 1.1, 0.1, -0.3),
  (-0.1, -0.1, -1, -0.1, 0, 0.001, 0.1, 0, 9007199254740993, 0),
  (0, 0, 1, 0, 1, 1, -16777217, 1, -1e-5, 1), (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (1, 1, 1, 1, 1, 1, 8388609, 1, 123456789.123456789, 1), (1, 1, 1, 1, 1, 1, 1e-45, 1, 1e22, 1),
  (1, 1, 1, 1, 1, 1, 123456789, 0.07, 2.2250738585072014e-308, 0.01), (1, 1, 1, 1, 1, 1, 0.3, 1, 5e-324, 1);
INSERT INTO nombres (f, d) VALUES (-1e0 * 0e0, -1e0 * 0e0);

CREATE TABLE temps (
  da date, dt datetime, dt6 datetime(6), dt3 datetime(3), ts timestamp NULL, ts6 timestamp(6) NULL, ti time, ti6 time(6), ti2 time(2)
);
INSERT INTO temps VALUES
  ('0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00', 0, 0, '-838:59:59', '-838:59:58.999999', '-00:00:00.01'),
  ('2026-00-00', '2026-00-00 12:00:00', '2026-02-00 01:02:03.000001', '2026-00-01 00:00:00.5', '1970-01-01 00:00:01',
   '2038-01-19 03:14:07.999999', '838:59:59', '838:59:58.999999', '838:59:59'),
  ('2026-02-31', '2025-02-29 00:00:00', '2024-04-31 23:59:59.999999', '1900-02-29', '2026-10-25 01:30:00',
   '1970-01-01 00:00:01', '24:00:00', '23:59:59.999999', '23:59:59.99'),
  ('9999-12-31', '9999-12-31 23:59:59', '9999-12-31 23:59:59.999999', '9999-12-31 23:59:59.999', '2038-01-19 03:14:07',
   '2001-09-09 01:46:40.000001', '00:00:00', '00:00:00.000001', '00:00:00'),
  ('0001-01-01', '0001-01-01 00:00:00', '0001-01-01 00:00:00.000001', '0001-01-01', '2000-02-29 23:59:59',
   '2000-02-29 23:59:59.5', '-00:00:01', '-00:00:00.000001', '100:00:00'),
  ('0000-01-01', '0000-12-31 23:59:59', '0000-02-29 00:00:00', '0000-03-01', NULL, NULL, NULL, NULL, NULL),
  ('2000-02-29', '1582-10-10 00:00:00', '1969-12-31 23:59:59.999999', '2024-02-29 12:34:56.789', NULL, NULL, '12:34:56', '12:34:56.5', '1:2:3'),
  (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE textes (
  c char(10), v varchar(300), tt tinytext, t text, mt mediumtext, lt longtext, l1 varchar(300) CHARACTER SET latin1,
  u3 varchar(20) CHARACTER SET utf8mb3, u2 varchar(20) CHARACTER SET ucs2, u16 varchar(20) CHARACTER SET utf16,
  u32 varchar(20) CHARACTER SET utf32, gb varchar(20) CHARACTER SET gbk, g18 varchar(20) CHARACTER SET gb18030,
  sj varchar(20) CHARACTER SET sjis, k8 varchar(20) CHARACTER SET koi8r, a varchar(20) CHARACTER SET ascii,
  ci varchar(20) COLLATE utf8mb4_0900_ai_ci, de varchar(20) COLLATE utf8mb4_de_pb_0900_as_cs, bi varchar(20) COLLATE utf8mb4_0900_bin,
  uc varchar(20) COLLATE utf8mb4_unicode_ci, e enum('', 'a', 'B,"é''', '\\n'), s set('x', 'y', 'é'), sv set('', 'z')
);
INSERT INTO textes VALUES
  ('', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', 1, '', ''),
  ('fin  ', 'fin  ', ' ', 'NULL', '\\N', '\N', 'Zoé €', 'Ünï', '漢字', '🙂', '🙂', '汉', '🙂', 'テ', 'Привет', 'ascii', 'É', 'ß', '👩‍👩‍👧', 'É', 'a', 'x,é', 'z'),
  ('a\tb', 'ligne\nretour\r\n"cité"', 'l''un\\', 'a\0b', REPEAT('é', 200), REPEAT('0123456789', 6554), REPEAT('x', 255),
   'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'e', 'ss', 'e', 'e', 'B,"é''', 'y', ',z'),
  ('é', 'é', 'A', 'a', '', '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'e', 'SS', 'É', 'É', '\\n', 'x,y,é', ''),
  (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO textes (l1)
  WITH RECURSIVE o (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM o WHERE n < 255)
  SELECT CONVERT(UNHEX(GROUP_CONCAT(LPAD(HEX(n), 2, '0') ORDER BY n SEPARATOR '')) USING latin1) FROM o;
INSERT INTO textes (gb, sj) VALUES (_gbk 0xA2A1, _sjis 0x5C7E), (_gbk 0x8180, _sjis 0x8160), (_gbk 0xFEFE, NULL);
INSERT INTO textes (g18) VALUES (_gb18030 0x8130813084318235);
INSERT IGNORE INTO textes (e) VALUES ('nothing of the kind');
INSERT INTO textes (sv) VALUES (1), (2), (3), (0);

CREATE TABLE jsons (id int PRIMARY KEY, j json);
INSERT INTO jsons VALUES
  (1, '{}'), (2, '[]'), (3, 'null'), (4, NULL), (5, 'true'), (6, '""'), (7, '"é\\u0000\\ud83d\\ude42\\"\\\\/"'),
  (8, '{"b": 1, "a": {"x": [1, null, "\\u0001"]}, "a": 2, "aa": 1.0}'), (9, '1.0'), (10, '1'), (11, '-0.0'), (12, '0'), (13, '1e22'),
  (14, '18446744073709551615'), (15, '-9223372036854775808'), (16, '123456789012345678901234567890.123456789'),
  (17, '[1e308, 1.7976931348623157e308, 5e-324, 0.1, 3.0, 100000000000000000000]');
-- Values that JSON has no text for: a decimal, dates and times, bits and bytes keep their type inside the column.
INSERT INTO jsons VALUES
  (20, JSON_ARRAY(CAST(1.10 AS decimal(10,2)), CAST(1 AS decimal(5,0)), CAST(12345678901234567890123456789012345.678 AS decimal(65,3)))),
  (21, JSON_OBJECT('d', DATE '2026-11-27', 't', TIME '10:00:00.000001', 'dt', TIMESTAMP '2026-11-27 10:00:00')),
  (22, CAST(DATE '2026-11-27' AS json)), (23, CAST(TIME '-838:59:59' AS json)), (24, CAST(TIMESTAMP '2026-11-27 10:00:00.5' AS json)),
  (25, JSON_ARRAY(CAST(18446744073709551615 AS unsigned), CAST(1 AS unsigned), CAST(1 AS signed), 1e0)),
  (26, CAST(x'00ff' AS json)), (27, JSON_ARRAY(b'101', x'cafe', CAST(2026 AS year))), (28, CAST(POINT(1, 2) AS json));

CREATE TABLE octets (
  b binary(4), v varbinary(300), tb tinyblob, bl blob, mb mediumblob, lb longblob, g geometry, p point, poly polygon,
  ls linestring, mp multipoint, ml multilinestring, my multipolygon, gc geometrycollection, v3 vector(3), vec vector
);
INSERT INTO octets VALUES
  ('', '', '', '', '', '', ST_GeomFromText('POINT(1 2)', 4326), ST_GeomFromText('POINT(-0.1 1e300)'),
   ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))', 3857), ST_GeomFromText('LINESTRING(0 0,1 1)', 4326), ST_GeomFromText('MULTIPOINT(0 0,1 1)'),
   ST_GeomFromText('MULTILINESTRING((0 0,1 1))'), ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))'),
   ST_GeomFromText('GEOMETRYCOLLECTION EMPTY'), STRING_TO_VECTOR('[1,-0.1,1.17549435e-38]'), STRING_TO_VECTOR('[3.4028234e38]')),
  (0x00FF0A0D, 0x010A0D2C22FBFCFDFEFF, 0xFB, REPEAT(0xFF, 251), REPEAT(0x00, 70000), REPEAT('ab', 40000),
   ST_GeomFromText('LINESTRING(0 0,1 1)'), NULL, NULL, NULL, NULL, NULL, NULL, ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1))', 4326),
   STRING_TO_VECTOR('[1,2,3]'), STRING_TO_VECTOR('[1,2,3,4]')),
  (0x20202020, 0x00, 0x00, REPEAT(0xFE, 250), REPEAT(0xFD, 65536), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

INSERT INTO jsons SELECT 100, JSON_ARRAY(JSON_OBJECT('a.b"c', da, '', dt6), dt3, ts, ts6, ti, ti6, ti2) FROM temps WHERE ti = '838:59:59';
INSERT INTO jsons SELECT 101, JSON_ARRAY(ti, tu, bi, bu, b, z, y, b1, b10, b64) FROM entiers WHERE id = 3;
INSERT INTO jsons SELECT 102, JSON_OBJECT('é', JSON_ARRAY(b, v, tb, bl, mb, lb)) FROM octets WHERE LENGTH(v) = 0;
INSERT INTO jsons SELECT 103, JSON_ARRAY(b, v, tb, bl, p) FROM octets WHERE LENGTH(v) = 10;
INSERT INTO jsons SELECT 104 + ROW_NUMBER() OVER (), JSON_ARRAY(d65, d38, d39, d18, d5, dz, f, f72, d, d102) FROM nombres;
INSERT INTO jsons SELECT 120, JSON_ARRAY(e, s, c, l1) FROM textes WHERE e = 'a';
INSERT INTO jsons VALUES (121, JSON_ARRAY(1234.5678, 0.5, CAST(-0.0 AS decimal(3,1))));  -- decimals whose text is a double's
UPDATE jsons SET j = JSON_SET(j, '$.b', 7) WHERE id = 8;  -- in place: the stored value is longer than its content

CREATE TABLE sans_ligne (id int PRIMARY KEY, t text);
CREATE TABLE doublons (a int, b varchar(5));
INSERT INTO doublons VALUES (1, 'x'), (1, 'x'), (1, 'x'), (NULL, NULL), (NULL, NULL), (2, '');
CREATE TABLE `Or der``s'é".x` (`se lect` int, `a``b{c}%s` varchar(9) COMMENT 'l''un \\ "deux"', `é漢` int, PRIMARY KEY (`se lect`));
INSERT INTO `Or der``s'é".x` VALUES (1, '{c} %s', 2);

CREATE TABLE client (
  id int AUTO_INCREMENT PRIMARY KEY, nom varchar(40) NOT NULL DEFAULT 'l''inconnu' COMMENT 'le nom',
  cree timestamp DEFAULT current_timestamp ON UPDATE current_timestamp, solde decimal(10,2) NOT NULL DEFAULT 1.50,
  v int GENERATED ALWAYS AS (id_base + 1) VIRTUAL, st decimal(12,2) AS (solde * 2) STORED, id_base int NOT NULL DEFAULT 0,
  cache int INVISIBLE DEFAULT 3, u binary(16) DEFAULT (UUID_TO_BIN('123e4567-e89b-12d3-a456-426614174000', 1)), j json DEFAULT (JSON_OBJECT('a', 1)),
  dd date DEFAULT (CURRENT_DATE + INTERVAL 1 YEAR), un bit(3) DEFAULT b'101', vi varchar(5) DEFAULT '',
  lu json, UNIQUE KEY uk (nom(5) DESC), UNIQUE KEY u2 (nom, solde DESC), CONSTRAINT solde_positif CHECK (solde > 0),
  CONSTRAINT `peu-être` CHECK (nom <> 'x;''y') NOT ENFORCED, KEY fx ((LOWER(nom))), KEY fy ((solde * 2) DESC, nom),
  KEY inv (solde) INVISIBLE, KEY mv ((CAST(lu->'$[*]' AS unsigned array))), KEY co (cree) COMMENT 'l''index'
) COMMENT='les "clients"';
INSERT INTO client (nom, solde, id_base, lu, dd) VALUES ('Zoé', 1.5, 4, '[1, 2]', '2026-01-01'), ('Ana', 2.25, 5, '[]', '2026-01-01');
INSERT INTO client (id, nom, solde, cache, dd) VALUES (41, 'Éva', 3, NULL, '2026-01-01');
CREATE TABLE commande (
  id int PRIMARY KEY, client int, t text, CONSTRAINT pour FOREIGN KEY (client) REFERENCES client (id) ON DELETE CASCADE ON UPDATE SET NULL,
  KEY k (client, id), FULLTEXT KEY ft (t)
);
INSERT INTO commande VALUES (1, 1, 'un'), (2, NULL, 'deux');
CREATE TABLE mesures (a int NOT NULL, j date NOT NULL, PRIMARY KEY (a, j)) PARTITION BY RANGE (YEAR(j)) (PARTITION p0 VALUES LESS THAN (2000), PARTITION p1 VALUES LESS THAN MAXVALUE);
INSERT INTO mesures VALUES (1, '1999-01-01'), (2, '2026-01-01');
CREATE TABLE listes (a int NOT NULL, r varchar(9) NOT NULL, PRIMARY KEY (a, r)) PARTITION BY LIST COLUMNS (r)
  SUBPARTITION BY HASH (a) SUBPARTITIONS 2 (PARTITION pn VALUES IN ('n', 'l''o'), PARTITION ps VALUES IN ('s'));
INSERT INTO listes VALUES (1, 'n'), (2, 's');
CREATE TABLE cles (a int NOT NULL PRIMARY KEY, b varchar(9) CHARACTER SET latin1 COLLATE latin1_swedish_ci) PARTITION BY KEY (a) PARTITIONS 3;
INSERT INTO cles VALUES (1, 'é'), (2, NULL);
CREATE TABLE ancienne (a int, b varchar(10)) ENGINE=MyISAM;
INSERT INTO ancienne VALUES (1, 'x');
CREATE TABLE compressee (a int PRIMARY KEY, b text) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8;
INSERT INTO compressee VALUES (1, 'x');
CREATE TABLE carte (k int PRIMARY KEY, g point NOT NULL SRID 4326, h geometry NOT NULL SRID 0, SPATIAL KEY sp (g));
INSERT INTO carte VALUES (1, ST_GeomFromText('POINT(48.8 2.3)', 4326), ST_GeomFromText('POINT(1 2)'));
CREATE TABLE cachee (a int) COLLATE utf8mb4_0900_as_cs;
INSERT INTO cachee VALUES (7);

CREATE VIEW clients_riches AS SELECT c.id AS i, CONCAT(c.nom, 'é') AS nn FROM client c WHERE c.solde > 1 WITH CHECK OPTION;
CREATE VIEW autre AS SELECT i FROM clients_riches INTERSECT SELECT id FROM client EXCEPT SELECT 41;
CREATE SQL SECURITY INVOKER VIEW arbre AS WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 3)
  SELECT n, ROW_NUMBER() OVER (ORDER BY n DESC) AS r FROM t;
CREATE VIEW deplie AS SELECT c.id, x.v FROM client c, JSON_TABLE(c.lu, '$[*]' COLUMNS (v int PATH '$')) x;
CREATE VIEW lateral_v AS SELECT c.id, d.m FROM client c, LATERAL (SELECT MAX(o.id) AS m FROM commande o WHERE o.client = c.id) d;

CREATE JSON RELATIONAL DUALITY VIEW deux AS SELECT JSON_DUALITY_OBJECT('_id': id, 't': t) FROM commande;
CREATE LIBRARY outils LANGUAGE JAVASCRIPT AS $$export function f() { return "it's; `$`"; }$$;
CREATE FUNCTION js (x int) RETURNS int DETERMINISTIC LANGUAGE JAVASCRIPT USING (outils) AS $un$return x + 1 // '; $un$;
