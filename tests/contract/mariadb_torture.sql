-- One column of each type and its edges; a comment names what peers lose. Run under sql_mode ALLOW_INVALID_DATES.
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
  (1, 1, 1, 1, 1, 1, 8388609, 1, 123456789.123456789, 1), (1, 1, 1, 1, 1, 1, 1e-45, 1, 1e22, 1);
INSERT INTO nombres (f, d) VALUES (-1e0 * 0e0, -1e0 * 0e0);

CREATE TABLE temps (
  da date, dt datetime, dt6 datetime(6), dt3 datetime(3), ts timestamp NULL, ts6 timestamp(6) NULL, ti time, ti6 time(6), ti2 time(2)
);
INSERT INTO temps VALUES
  ('0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00', 0, 0, '-838:59:59', '-838:59:59.999999', '-00:00:00.01'),
  ('2026-00-00', '2026-00-00 12:00:00', '2026-02-00 01:02:03.000001', '2026-00-01 00:00:00.5', '1970-01-01 00:00:01',
   '2038-01-19 03:14:07.999999', '838:59:59', '838:59:59.999999', '838:59:59'),
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
  u32 varchar(20) CHARACTER SET utf32, gb varchar(20) CHARACTER SET gbk, sj varchar(20) CHARACTER SET sjis,
  k8 varchar(20) CHARACTER SET koi8r, a varchar(20) CHARACTER SET ascii, ci varchar(20) COLLATE utf8mb4_unicode_ci,
  e enum('', 'a', 'B,"é''', '\\n'), s set('x', 'y', 'é'), sv set('', 'z'), j json, u uuid, i4 inet4, i6 inet6
);
INSERT INTO textes (c, v, tt, t, mt, lt, l1, u3, u2, u16, u32, gb, sj, k8, a, ci, e, s, sv, j, u, i4, i6) VALUES
  ('', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', 1, '', '', '{}', '00000000-0000-0000-0000-000000000000', '0.0.0.0', '::'),
  ('fin  ', 'fin  ', ' ', 'NULL', '\\N', '\N', 'Zoé €', 'Ünï', '漢字', '🙂', '🙂', '汉', 'テ', 'Привет', 'ascii', 'É', 'a', 'x,é', 'z',
   '{"n": 123456789012345678901234567890.123456789, "x": 1e999, "a": [1, null, "\\u0000"], "a": 2}',
   'ffffffff-ffff-ffff-ffff-ffffffffffff', '255.255.255.255', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'),
  ('a\tb', 'ligne\nretour\r\n"cité", l''un\\', 'a\0b', REPEAT('é', 200), REPEAT('0123456789', 6554), REPEAT('x', 70000), 'x', 'x', 'x', 'x', 'x',
   'x', 'x', 'x', 'x', 'e', 'B,"é''', 'y', ',z', 'null', '123e4567-e89b-12d3-a456-426614174000', '127.0.0.1', '::ffff:1.2.3.4'),
  ('é', 'é', 'A', 'a', '', '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'e', '\\n', 'x,y,é', '', '[]', NULL, NULL, NULL),
  (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO textes (l1) SELECT CONVERT(UNHEX(GROUP_CONCAT(LPAD(HEX(seq), 2, '0') ORDER BY seq SEPARATOR '')) USING latin1) FROM seq_0_to_255;
INSERT INTO textes (gb, sj) VALUES (_gbk 0xA2A1, _sjis 0x5C7E), (_gbk 0x8180, _sjis 0x8160), (_gbk 0xFEFE, NULL);
INSERT IGNORE INTO textes (e) VALUES ('nothing of the kind');
INSERT INTO textes (sv) VALUES (1), (2), (3), (0);

CREATE TABLE octets (
  b binary(4), v varbinary(300), tb tinyblob, bl blob, mb mediumblob, lb longblob, g geometry, p point, poly polygon, gc geometrycollection
);
INSERT INTO octets VALUES
  ('', '', '', '', '', '', ST_GeomFromText('POINT(1 2)', 4326), ST_GeomFromText('POINT(-0.1 1e300)'),
   ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))', 3857), ST_GeomFromText('GEOMETRYCOLLECTION EMPTY')),
  (0x00FF0A0D, 0x010A0D2C22FBFCFDFEFF, 0xFB, REPEAT(0xFF, 251), REPEAT(0x00, 70000), REPEAT('ab', 40000),
   ST_GeomFromText('LINESTRING(0 0,1 1)'), NULL, NULL, ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1))', 1)),
  (0x20202020, 0x00, 0x00, REPEAT(0xFE, 250), REPEAT(0xFD, 65536), NULL, NULL, NULL, NULL, NULL),
  (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE sans_ligne (id int PRIMARY KEY, t text);
CREATE TABLE doublons (a int, b varchar(5));
INSERT INTO doublons VALUES (1, 'x'), (1, 'x'), (1, 'x'), (NULL, NULL), (NULL, NULL), (2, '');
CREATE TABLE `Or der``s'é".x` (`se lect` int, `a``b{c}%s` varchar(9) COMMENT 'l''un \\ "deux"', `é漢` int, PRIMARY KEY (`se lect`));
INSERT INTO `Or der``s'é".x` VALUES (1, '{c} %s', 2);

CREATE TABLE client (
  id int AUTO_INCREMENT PRIMARY KEY, nom varchar(40) NOT NULL DEFAULT 'l''inconnu' COMMENT 'le nom', cree timestamp DEFAULT current_timestamp ON UPDATE current_timestamp,
  solde decimal(10,2) NOT NULL DEFAULT 1.50, v int GENERATED ALWAYS AS (id + 1) VIRTUAL, st decimal(12,2) AS (solde * 2) STORED,
  cache int INVISIBLE DEFAULT 3, UNIQUE KEY uk (nom(5) DESC), UNIQUE KEY u2 (nom, solde), CONSTRAINT solde_positif CHECK (solde > 0)
) COMMENT='les "clients"';
INSERT INTO client (nom, solde) VALUES ('Zoé', 1.5), ('Ana', 2.25);
INSERT INTO client (id, nom, solde, cache) VALUES (41, 'Éva', 3, NULL);
CREATE TABLE commande (
  id int PRIMARY KEY, client int, t text, FOREIGN KEY pour (client) REFERENCES client (id) ON DELETE CASCADE ON UPDATE SET NULL,
  KEY k (client, id), FULLTEXT KEY ft (t)
);
INSERT INTO commande VALUES (1, 1, 'un'), (2, NULL, 'deux');
CREATE TABLE mesures (a int NOT NULL, j date NOT NULL, PRIMARY KEY (a, j)) PARTITION BY RANGE (YEAR(j)) (PARTITION p0 VALUES LESS THAN (2000), PARTITION p1 VALUES LESS THAN MAXVALUE);
INSERT INTO mesures VALUES (1, '1999-01-01'), (2, '2026-01-01');
CREATE TABLE historique (a int PRIMARY KEY, b int) WITH SYSTEM VERSIONING;
INSERT INTO historique VALUES (1, 1), (2, 2);
UPDATE historique SET b = 3 WHERE a = 1;
DELETE FROM historique WHERE a = 2;
CREATE TABLE ancienne (a int, b varchar(10)) ENGINE=MyISAM;
INSERT INTO ancienne VALUES (1, 'x');
CREATE TABLE carte (k int PRIMARY KEY, g point NOT NULL, SPATIAL KEY sp (g));
INSERT INTO carte VALUES (1, POINT(1, 2));

CREATE SEQUENCE suite START 5 INCREMENT 3;
CREATE VIEW clients_riches AS SELECT c.id AS i, CONCAT(c.nom, 'é') AS nn FROM client c WHERE c.solde > 1 WITH CHECK OPTION;
CREATE VIEW autre AS SELECT i FROM clients_riches;
