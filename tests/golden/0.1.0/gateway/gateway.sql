BEGIN TRANSACTION;
CREATE TABLE deliveries (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(64) NOT NULL, 
	owner VARCHAR(36) NOT NULL, 
	job VARCHAR(36) NOT NULL, 
	url TEXT NOT NULL, 
	body TEXT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	attempts INTEGER NOT NULL, 
	next FLOAT, 
	created FLOAT NOT NULL, 
	status INTEGER, 
	error TEXT, 
	UNIQUE (id)
);
CREATE TABLE engine_numbers (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name VARCHAR(255) NOT NULL, 
	UNIQUE (name)
);
INSERT INTO "engine_numbers" VALUES(1,'pipeline');
CREATE TABLE engines (
	id VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	version VARCHAR(255) NOT NULL, 
	description TEXT NOT NULL, 
	definition JSON NOT NULL, 
	backend VARCHAR(16) NOT NULL, 
	"default" BOOLEAN NOT NULL, 
	active BOOLEAN NOT NULL, 
	created FLOAT NOT NULL, 
	last_used FLOAT, 
	files_updated FLOAT, 
	PRIMARY KEY (id), 
	UNIQUE (name, version)
);
INSERT INTO "engines" VALUES('480218a5-c2be-4b64-946f-573d8b742915','pipeline','f78acb799b22','','{"stages": ["pipeline"]}','farm',1,1,1.79562675644851946826e+09,1.79562676052212452887e+09,NULL);
CREATE TABLE events (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	time FLOAT NOT NULL, 
	owner VARCHAR(36) NOT NULL, 
	job VARCHAR(36) NOT NULL, 
	kind VARCHAR(24) NOT NULL, 
	data JSON NOT NULL
);
INSERT INTO "events" VALUES(1,1.79562675814579176909e+09,'1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b','81402bf5-c670-4e05-a24f-2d5ed173e1fc','job.state','{"job": "81402bf5-c670-4e05-a24f-2d5ed173e1fc", "state": "new"}');
INSERT INTO "events" VALUES(2,1.79562675853964853287e+09,'1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b','81402bf5-c670-4e05-a24f-2d5ed173e1fc','job.state','{"job": "81402bf5-c670-4e05-a24f-2d5ed173e1fc", "state": "queued"}');
INSERT INTO "events" VALUES(3,1.79562675871923112863e+09,'1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b','81402bf5-c670-4e05-a24f-2d5ed173e1fc','job.state','{"job": "81402bf5-c670-4e05-a24f-2d5ed173e1fc", "state": "processing"}');
INSERT INTO "events" VALUES(4,1.79562675988088607786e+09,'1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b','81402bf5-c670-4e05-a24f-2d5ed173e1fc','page.state','{"job": "81402bf5-c670-4e05-a24f-2d5ed173e1fc", "page": "p1.jpg", "state": "done", "quality": 100.0}');
INSERT INTO "events" VALUES(5,1.79562675988088607786e+09,'1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b','81402bf5-c670-4e05-a24f-2d5ed173e1fc','job.progress','{"job": "81402bf5-c670-4e05-a24f-2d5ed173e1fc", "progress": 1, "pages": 1, "failed": 0}');
INSERT INTO "events" VALUES(6,1.79562675988088607786e+09,'1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b','81402bf5-c670-4e05-a24f-2d5ed173e1fc','job.state','{"job": "81402bf5-c670-4e05-a24f-2d5ed173e1fc", "state": "done"}');
INSERT INTO "events" VALUES(7,1.79562676019523501397e+09,'1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b','affd2166-5a16-4877-904a-43bf614e29ae','job.state','{"job": "affd2166-5a16-4877-904a-43bf614e29ae", "state": "new"}');
INSERT INTO "events" VALUES(8,1.7956267602139661312e+09,'1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b','affd2166-5a16-4877-904a-43bf614e29ae','job.state','{"job": "affd2166-5a16-4877-904a-43bf614e29ae", "state": "queued"}');
INSERT INTO "events" VALUES(9,1.79562676031113338474e+09,'1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b','affd2166-5a16-4877-904a-43bf614e29ae','job.state','{"job": "affd2166-5a16-4877-904a-43bf614e29ae", "state": "processing"}');
INSERT INTO "events" VALUES(10,1.79562676038774943348e+09,'1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b','affd2166-5a16-4877-904a-43bf614e29ae','page.state','{"job": "affd2166-5a16-4877-904a-43bf614e29ae", "page": "old1", "state": "done", "quality": 100.0}');
INSERT INTO "events" VALUES(11,1.79562676038774943348e+09,'1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b','affd2166-5a16-4877-904a-43bf614e29ae','job.progress','{"job": "affd2166-5a16-4877-904a-43bf614e29ae", "progress": 1, "pages": 1, "failed": 0}');
INSERT INTO "events" VALUES(12,1.79562676038774943348e+09,'1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b','affd2166-5a16-4877-904a-43bf614e29ae','job.state','{"job": "affd2166-5a16-4877-904a-43bf614e29ae", "state": "done"}');
INSERT INTO "events" VALUES(13,1795626760.47431,'1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b','06018b02-832f-4725-b6c4-e8ba36ae2e06','job.state','{"job": "06018b02-832f-4725-b6c4-e8ba36ae2e06", "state": "new"}');
INSERT INTO "events" VALUES(14,1.79562676052212452887e+09,'1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b','06018b02-832f-4725-b6c4-e8ba36ae2e06','job.state','{"job": "06018b02-832f-4725-b6c4-e8ba36ae2e06", "state": "queued"}');
INSERT INTO "events" VALUES(15,1.79562676061152839664e+09,'1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b','06018b02-832f-4725-b6c4-e8ba36ae2e06','job.state','{"job": "06018b02-832f-4725-b6c4-e8ba36ae2e06", "state": "processing"}');
CREATE TABLE idempotency (
	owner VARCHAR(36) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	status INTEGER NOT NULL, 
	reply TEXT NOT NULL, 
	created FLOAT NOT NULL, 
	PRIMARY KEY (owner, "key")
);
CREATE TABLE instances (
	id VARCHAR(36) NOT NULL, 
	seen FLOAT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "instances" VALUES('d9267711-227e-4085-bc8f-6b0b0f31afbe',1.79562676018089509006e+09);
CREATE TABLE jobs (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(36) NOT NULL, 
	api VARCHAR(8) NOT NULL, 
	owner VARCHAR(36) NOT NULL, 
	worker VARCHAR(36), 
	engine VARCHAR(36), 
	backend VARCHAR(16) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	progress FLOAT NOT NULL, 
	previous_attempts INTEGER, 
	meta_json_required BOOLEAN NOT NULL, 
	meta_json_uploaded BOOLEAN NOT NULL, 
	alto_required BOOLEAN NOT NULL, 
	page_required BOOLEAN NOT NULL, 
	pages INTEGER NOT NULL, 
	missing INTEGER NOT NULL, 
	open INTEGER NOT NULL, 
	failed INTEGER NOT NULL, 
	created FLOAT NOT NULL, 
	started FLOAT, 
	changed FLOAT NOT NULL, 
	finished FLOAT, 
	log TEXT, 
	log_user TEXT, 
	name VARCHAR(255), 
	formats JSON, 
	priority INTEGER NOT NULL, 
	webhook JSON, 
	labels JSON, 
	retention_days FLOAT, 
	files_gone BOOLEAN NOT NULL, 
	progress_told FLOAT, 
	deadline FLOAT, 
	document JSON, 
	document_unread BOOLEAN NOT NULL, 
	UNIQUE (id)
);
INSERT INTO "jobs" VALUES(1,'81402bf5-c670-4e05-a24f-2d5ed173e1fc','v1','1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b',NULL,'480218a5-c2be-4b64-946f-573d8b742915','farm','done',1.0,0,0,0,0,0,1,0,0,0,1.79562675814579176909e+09,1.79562675871923112863e+09,1.79562675988088607786e+09,1.79562675988088607786e+09,NULL,NULL,NULL,'null',0,'null','null',NULL,0,1.79562675988088607786e+09,NULL,NULL,0);
INSERT INTO "jobs" VALUES(2,'affd2166-5a16-4877-904a-43bf614e29ae','legacy','1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b',NULL,'480218a5-c2be-4b64-946f-573d8b742915','farm','done',1.0,0,0,0,0,0,1,0,0,0,1.79562676019523501397e+09,1.79562676031113338474e+09,1.79562676038774943348e+09,1.79562676038774943348e+09,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,0,1.79562676038774943348e+09,NULL,NULL,0);
INSERT INTO "jobs" VALUES(3,'06018b02-832f-4725-b6c4-e8ba36ae2e06','v1','1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b',NULL,'480218a5-c2be-4b64-946f-573d8b742915','farm','processing',0.0,0,0,0,0,0,1,0,1,0,1795626760.47431,1.79562676061152839664e+09,1.79562676061152839664e+09,NULL,NULL,NULL,NULL,'null',0,'null','null',NULL,0,NULL,NULL,NULL,0);
CREATE TABLE keys (
	id VARCHAR(36) NOT NULL, 
	kid VARCHAR(64), 
	salt VARCHAR(64) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	whole VARCHAR(64), 
	label VARCHAR(255) NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	active BOOLEAN NOT NULL, 
	created FLOAT NOT NULL, 
	last_used FLOAT, 
	expires FLOAT, 
	share FLOAT NOT NULL, 
	pages_per_day INTEGER, 
	pages_waiting INTEGER, 
	requests_per_minute INTEGER, 
	max_upload BIGINT, 
	webhook_secrets JSON, 
	PRIMARY KEY (id), 
	UNIQUE (kid), 
	UNIQUE (whole), 
	UNIQUE (label)
);
INSERT INTO "keys" VALUES('1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b','YUiRABJc','d369bfe46cac1f30f614bde1d1b55b6f','993cf8fbbd5c615d1855a464bc711b9ef977f18e18fadda39b697ba9ed3f377a',NULL,'a-user','user',1,1.79562675091632747642e+09,1.79562675812959909437e+09,NULL,1.0,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE pages (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(36) NOT NULL, 
	job VARCHAR(36) NOT NULL, 
	owner VARCHAR(36) NOT NULL, 
	backend VARCHAR(16) NOT NULL, 
	engine VARCHAR(36), 
	name VARCHAR(1020) NOT NULL, 
	position INTEGER NOT NULL, 
	priority INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	failure VARCHAR(24), 
	error TEXT, 
	url TEXT, 
	document VARCHAR(36), 
	frame INTEGER NOT NULL, 
	frames INTEGER, 
	image_uploaded BOOLEAN NOT NULL, 
	alto_uploaded BOOLEAN NOT NULL, 
	page_uploaded BOOLEAN NOT NULL, 
	image_bytes BIGINT, 
	image_sha256 VARCHAR(64), 
	trace VARCHAR(64), 
	sent_by VARCHAR(36), 
	sent FLOAT, 
	changed FLOAT NOT NULL, 
	finished FLOAT, 
	attempts INTEGER NOT NULL, 
	quality FLOAT, 
	worst_line FLOAT, 
	lines INTEGER, 
	engine_text TEXT, 
	worker TEXT, 
	seconds JSON, 
	worker_seconds FLOAT NOT NULL, 
	stage VARCHAR(255), 
	sends INTEGER NOT NULL, 
	energy_joules FLOAT, 
	UNIQUE (job, name), 
	UNIQUE (id)
);
INSERT INTO "pages" VALUES(1,'5e69f293-7e8b-42f3-a068-79d04aa6c6dd','81402bf5-c670-4e05-a24f-2d5ed173e1fc','1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b','farm','480218a5-c2be-4b64-946f-573d8b742915','p1.jpg',0,0,'done',NULL,NULL,NULL,NULL,0,NULL,1,0,0,347,'50022792b47c3859210ec2a0fecd3d79e6e63aa2a7d84d8782877235f0acff38','01a55fb5a29c4847',NULL,NULL,1.79562675988088607786e+09,1.79562675988088607786e+09,1,100.0,100.0,1,'pipeline f78acb799b22','local-1','{"write": 0.0006, "total": 0.0073}',0.0073,'pipeline',0,NULL);
INSERT INTO "pages" VALUES(2,'3d0b6427-7215-4213-b1bf-7151397abbd5','affd2166-5a16-4877-904a-43bf614e29ae','1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b','farm','480218a5-c2be-4b64-946f-573d8b742915','old1',0,0,'done',NULL,NULL,NULL,NULL,0,NULL,1,0,0,347,'50022792b47c3859210ec2a0fecd3d79e6e63aa2a7d84d8782877235f0acff38','ab17cb5581be6f06',NULL,NULL,1.79562676038774943348e+09,1.79562676038774943348e+09,1,100.0,100.0,1,'pipeline f78acb799b22','local-1','{"write": 0.0005, "total": 0.0018}',0.0018,'pipeline',0,NULL);
INSERT INTO "pages" VALUES(3,'f7043d24-6ac8-4448-9aad-112bdf5b8e1d','06018b02-832f-4725-b6c4-e8ba36ae2e06','1cdb325a-ffee-4f3d-9bf3-ba3c4b7db63b','farm','480218a5-c2be-4b64-946f-573d8b742915','slow2.jpg',0,0,'processing',NULL,NULL,NULL,NULL,0,NULL,1,0,0,347,'50022792b47c3859210ec2a0fecd3d79e6e63aa2a7d84d8782877235f0acff38','fb43ba86038e2c7d','d9267711-227e-4085-bc8f-6b0b0f31afbe',NULL,1.79562676061152839664e+09,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,0.0,NULL,0,NULL);
CREATE TABLE rates (
	owner VARCHAR(36) NOT NULL, 
	tokens FLOAT NOT NULL, 
	filled FLOAT NOT NULL, 
	PRIMARY KEY (owner)
);
CREATE TABLE results (
	page VARCHAR(36) NOT NULL, 
	format VARCHAR(16) NOT NULL, 
	job VARCHAR(36) NOT NULL, 
	bytes BIGINT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	PRIMARY KEY (page, format)
);
INSERT INTO "results" VALUES('5e69f293-7e8b-42f3-a068-79d04aa6c6dd','page','81402bf5-c670-4e05-a24f-2d5ed173e1fc',1205,'58a5f74498f710f71b1080aa1979a27e574ab5f4f0f2788484e4394e7d30d595');
INSERT INTO "results" VALUES('5e69f293-7e8b-42f3-a068-79d04aa6c6dd','alto','81402bf5-c670-4e05-a24f-2d5ed173e1fc',1870,'7a0e3f56c00bd31490c9b8a7b58ea766229c31d4e27bc13a14b3b518c97aa136');
INSERT INTO "results" VALUES('5e69f293-7e8b-42f3-a068-79d04aa6c6dd','text','81402bf5-c670-4e05-a24f-2d5ed173e1fc',22,'afc0040dca9b9c966f47407ca5abdb4c2a69485da12ab05259b4d105d89c947f');
INSERT INTO "results" VALUES('3d0b6427-7215-4213-b1bf-7151397abbd5','page','affd2166-5a16-4877-904a-43bf614e29ae',1201,'b922e5b5a2d0e554990aad8bd79373bdddfb5b418089bfe774ad1d6a3a526def');
INSERT INTO "results" VALUES('3d0b6427-7215-4213-b1bf-7151397abbd5','alto','affd2166-5a16-4877-904a-43bf614e29ae',1866,'77b1282e879abf7edcaa77b63ff36eac01e03e0f2dad45f7906d15670d914957');
INSERT INTO "results" VALUES('3d0b6427-7215-4213-b1bf-7151397abbd5','text','affd2166-5a16-4877-904a-43bf614e29ae',20,'2ce24b43fc07458caaa2529a71a39ad5cd15c9f370d936af508d0bbf71d5daa4');
CREATE TABLE schema_version (
	version INTEGER NOT NULL
);
INSERT INTO "schema_version" VALUES(2);
CREATE TABLE uploads (
	id VARCHAR(36) NOT NULL, 
	owner VARCHAR(36) NOT NULL, 
	job VARCHAR(36) NOT NULL, 
	name VARCHAR(1020) NOT NULL, 
	length BIGINT NOT NULL, 
	expires FLOAT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX jobs_with_documents ON jobs (document_unread, number);
CREATE INDEX jobs_of_owner ON jobs (owner, number);
CREATE INDEX jobs_of_day ON jobs (owner, created);
CREATE INDEX jobs_to_lease ON jobs (backend, state, priority, number);
CREATE INDEX jobs_by_end ON jobs (files_gone, finished);
CREATE INDEX jobs_by_deadline ON jobs (state, deadline);
CREATE INDEX pages_of_job ON pages (job, position, number);
CREATE INDEX pages_sent ON pages (state, sent_by);
CREATE INDEX pages_to_do ON pages (backend, state, owner, priority, number);
CREATE INDEX pages_of_owner ON pages (owner, finished);
CREATE INDEX ix_results_job ON results (job);
CREATE INDEX ix_idempotency_created ON idempotency (created);
CREATE INDEX ix_events_time ON events (time);
CREATE INDEX events_of_job ON events (job, number);
CREATE INDEX ix_uploads_owner ON uploads (owner);
CREATE INDEX ix_uploads_expires ON uploads (expires);
CREATE INDEX deliveries_of_owner ON deliveries (owner, number);
CREATE INDEX deliveries_due ON deliveries (state, next);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('engine_numbers',1);
INSERT INTO "sqlite_sequence" VALUES('jobs',3);
INSERT INTO "sqlite_sequence" VALUES('pages',3);
INSERT INTO "sqlite_sequence" VALUES('events',15);
COMMIT;
